"""Real servers for every test that asks: one PostgreSQL and one Valkey for each pytest worker.

`engine` is a new database for each test, copied from a migrated template; `redis` is Valkey, emptied.
A test that asks for `furnished` (a session fixture of its folder, tests/support/databases.py) gets a copy of a
database that `furnished` has filled once: copying takes a tenth of the time of filling.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis import Redis
from sqlalchemy import Engine

from tests.support import databases
from tests.support.clock import NOW, Clock
from tests.support.databases import Furnished
from tests.support.folders import in_memory
from tests.support.scan_service import registry, scan_keys, service
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.store.database.session import connect, migrate_embedded

__all__ = ["registry", "scan_keys", "service"]

settings.register_profile("zpcode", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zpcode")  # an example that takes long on a busy machine is no fault

_NUMBERS = itertools.count(1)


_SERVERS = frozenset({"servers", "world", "bare", "running", "stage", "browser", "signer", "own_signer", "desk"})
"""Fixtures that start a server, a signer, a browser or many commands."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts a server (`servers`) or a browser (`browser`), so that `make quick` can leave it out."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        fixtures = set(getattr(item, "fixturenames", ()))
        if folder == "browser":
            item.add_marker(pytest.mark.browser)
        if folder in {"browser", "e2e", "faults"} or fixtures & _SERVERS:
            item.add_marker(pytest.mark.servers)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Valkey, running; their data is thrown away.

    Not in pytest's own temporary folder: that is closed to others again by every pytest that starts, and
    PostgreSQL runs as another user where we are root.
    """
    with tempfile.TemporaryDirectory(prefix="zpcode-tests-", dir=in_memory(), ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o711)
        with Servers(Path(home), durable=False) as running:
            databases.remember_owner(running.addresses)
            yield running


@pytest.fixture(scope="session")
def migrated(servers: Servers) -> str:
    """The name of a migrated database without rows, to copy."""
    migrate_embedded(servers.addresses)
    return "zpcode"


@pytest.fixture
def template(request: pytest.FixtureRequest, migrated: str) -> str:
    """The name of the database to copy for this test: the furnished one if the test uses one."""
    if "furnished" not in request.fixturenames:
        return migrated
    furnished: Furnished[object] = request.getfixturevalue("furnished")
    return furnished.database


@pytest.fixture
def addresses(servers: Servers, template: str) -> Iterator[ServerAddresses]:
    """Where this test's own database and the emptied Valkey are."""
    name = f"test_{next(_NUMBERS)}"
    with databases.administrator(servers.addresses) as connection:
        databases.copy(connection, template, name)
        with closing(Redis.from_url(servers.addresses.admin_redis)) as client:
            client.flushall()
        yield databases.addresses_of(servers.addresses, name)
        databases.drop(connection, name)


@pytest.fixture
def engine(addresses: ServerAddresses) -> Iterator[Engine]:
    """An engine on this test's own database, as the authority."""
    own_engine = connect(addresses.database, pool_size=5)
    yield own_engine
    own_engine.dispose()


@pytest.fixture
def owner(addresses: ServerAddresses) -> Iterator[Engine]:
    """An engine on this test's own database, as the role that owns the tables: for what the authority must not do."""
    owner_engine = connect(addresses.owner_database, pool_size=2)
    yield owner_engine
    owner_engine.dispose()


@pytest.fixture
def redis(addresses: ServerAddresses) -> Iterator[Redis]:
    """Valkey as its administrator, emptied."""
    client = Redis.from_url(addresses.admin_redis, socket_timeout=5)
    yield client
    client.close()


@pytest.fixture
def now() -> datetime:
    """The moment tests take for now: Saturday noon in Hangzhou."""
    return NOW


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is moved."""
    return Clock()


@pytest.fixture
def root() -> Path:
    """The repository's top folder."""
    return Path(__file__).resolve().parents[1]
