"""A service in which every check holds; each test damages it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import fsck_setting, issuing_setting
from tests.support.code_folders import code_folder
from tests.support.fsck_setting import CheckedService
from tests.support.issuing_setting import KeyHouse


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for this module."""
    house = issuing_setting.key_house(tmp_path_factory.mktemp("kh"))
    with house.signer():
        yield house


@pytest.fixture
def world(engine: Engine, redis: Redis, house: KeyHouse, tmp_path: Path) -> CheckedService:
    """A service of which everything holds."""
    return fsck_setting.settle(engine, redis, house, code_folder(tmp_path / "exports"))
