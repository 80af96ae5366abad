"""Fixtures of tests that issue codes with a real signer. A module imports those that it uses, and lists them in `__all__`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support import issuing_setting as setting
from tests.support.code_folders import code_folder
from tests.support.issuing_setting import NOW, KeyHouse
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches.issue import issue


def _running(folder: Path) -> Iterator[KeyHouse]:
    house = setting.key_house(folder)
    with house.signer():
        yield house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for this module."""
    yield from _running(tmp_path_factory.mktemp("kh"))


@pytest.fixture
def own_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for one test: it remembers how far the audit log of the test's database came."""
    yield from _running(tmp_path_factory.mktemp("kh"))


@pytest.fixture(autouse=True)
def registered(engine: Engine) -> None:
    """The product whose codes are issued."""
    setting.register(engine, setting.product_card())


def issue_at_once(engine: Engine, house: KeyHouse, number: int, directory: Path) -> Batch:
    """Issue a reserved batch into a folder, at the time of the setting."""
    return issue(engine, house.client(), number, folder=code_folder(directory), clock=lambda: NOW)
