"""One browser and one stage for all modules of this folder, in each pytest worker.

They end with the last test of this package: Playwright keeps an event loop in the main thread, where other tests run
their loops. No test here may use `redis` or `addresses`: these fixtures empty the Valkey that the stage uses.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from redis import Redis

from tests.browser import stage as theatre
from tests.browser.chromium import chromium
from tests.browser.stage import Stage
from tests.support import databases
from zpcode.embedded.servers import Servers
from zpcode.store.database.session import connect


@pytest.fixture(scope="package")
def stage(servers: Servers, migrated: str) -> Iterator[Stage]:
    """The stage with every verdict, on a new database and on the worker's emptied Valkey."""
    with databases.administrator(servers.addresses) as connection:
        databases.copy(connection, migrated, "stage")
    addresses = databases.addresses_of(servers.addresses, "stage")
    home = Path(tempfile.mkdtemp(prefix="zp-"))
    engine = connect(addresses.database, pool_size=5)
    with closing(Redis.from_url(addresses.admin_redis, socket_timeout=5)) as redis:
        redis.flushall()
        with theatre.stage(addresses, engine, redis, home) as running:
            yield running
    engine.dispose()
    shutil.rmtree(home)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    with chromium() as running:
        yield running
