"""Fixtures that several modules share: the scan service on the test servers, and its authority."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from tests.support import scan_factories as make
from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses


@pytest.fixture(scope="module")
def scan_keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[KeyRoom, str]:
    """A key room with one active key, for a whole module."""
    return make.room_in(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def registry(engine: Engine, redis: Redis, scan_keys: tuple[KeyRoom, str]) -> ScanAuthority:
    """The authority, with a product, two batches and a lot."""
    authority = ScanAuthority(engine, redis, *scan_keys)
    authority.everything()
    return authority


@pytest.fixture
def service(addresses: ServerAddresses, registry: ScanAuthority) -> Iterator[ScanService]:
    """A scan process on the test servers."""
    with ScanService(make.settings(addresses, registry.room)) as running:
        yield running
