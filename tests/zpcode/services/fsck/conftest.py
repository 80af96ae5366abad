"""A service in which every check holds; each test damages it."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import fsck_setting
from tests.support.code_folders import code_folder
from tests.support.fsck_setting import CheckedService
from tests.support.issuing_fixtures import house
from tests.support.issuing_setting import KeyHouse

__all__ = ["house"]


@pytest.fixture
def world(engine: Engine, redis: Redis, house: KeyHouse, tmp_path: Path) -> CheckedService:
    """A service of which everything holds."""
    return fsck_setting.settle(engine, redis, house, code_folder(tmp_path / "exports"))
