"""A test's own installation, which the test may break: servers, cards of an authority, and the processes of the service.

`running` starts PostgreSQL, Valkey and everything a scan needs, and removes them afterwards. Scan processes, the worker
and the API are the real commands with settings from the environment, as in production.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis
from sqlalchemy import Engine, text

from tests.faults.scan_processes import APP, PROTOCOL
from tests.support import scan_factories as make
from tests.support.folders import in_memory
from tests.support.frozen import children, frozen
from tests.support.patience import eventually
from tests.support.scan_factories import ScanAuthority
from tests.support.scanned_batches import may_be_scanned
from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import ServerAddresses, Servers, secret_file
from zpcode.store import cards as outbox
from zpcode.store.database.session import connect, migrate_embedded, transaction
from zpcode.wire import card, redis_keys
from zpcode.wire.vocabulary import State

FILE_BYTES = 16 * 1024 * 1024
GOOD, SCRAPPED, WITHDRAWN = 7, 7, 9
"""Batches: of 7 the items from 900 on were revoked one by one, all of 9 together."""


@dataclass
class Installation:
    """One installation; `registry` writes its cards.

    `ports` are those of the scan processes; `private_ports` are those of their metrics, by port.
    """

    servers: Servers
    addresses: ServerAddresses
    engine: Engine
    redis: Redis
    registry: ScanAuthority
    processes: Processes
    ports: list[int] = field(default_factory=list)
    private_ports: dict[int, int] = field(default_factory=dict)

    @property
    def good(self) -> list[str]:
        """Codes without a decision against them."""
        return [self.registry.item(index, GOOD) for index in range(30)]

    @property
    def revoked(self) -> list[str]:
        """Codes revoked before any fault: single items and a batch."""
        single = [self.registry.item(index, SCRAPPED) for index in range(900, 906)]
        return single + [self.registry.item(index, WITHDRAWN) for index in range(4)]

    @property
    def codes(self) -> list[str]:
        """Good and revoked codes."""
        return [*self.good, *self.revoked]

    # Processes --------------------------------------------------------------------------------------

    def start_scans(self, number: int = 2, *, app: str = APP, **settings: str) -> None:
        """Start scan processes of `app` and wait until each is ready. `settings` are added to those of the addresses."""
        fresh = []
        for _ in range(number):
            name, port = f"scan-{len(self.ports)}", _free_port()
            self.private_ports[port] = _free_port()
            command = [sys.executable, "-m", "uvicorn", "--factory", "--no-proxy-headers", "--no-access-log", "--http", PROTOCOL,
                       "--loop", "uvloop", "--port", str(port), app]  # fmt: skip
            environment = self._scan_environment() | settings
            environment |= {"PGAPPNAME": name, "ZPCODE_METRICS_ADDRESS": str(self.private_ports[port])}
            self.processes.start(name, command, env=environment)
            self.ports.append(port)
            fresh.append(port)
        for port in fresh:
            self._until_stands_on(port, "redis")

    def _scan_environment(self) -> dict[str, str]:
        room = self.registry.room
        return {
            "ZPCODE_SCAN_DATABASE_URL": self.addresses.scan_database,
            "ZPCODE_SCAN_REDIS_URL": self.addresses.scan_redis,
            "ZPCODE_KEYRING": str(room.keyring),
            "ZPCODE_ROOT_PUBLIC": str(room.root_public),
            "ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8",
        }

    def authority_environment(self) -> Mapping[str, str]:
        """Settings of the authority's processes."""
        room = self.registry.room
        return {
            "ZPCODE_HOME": str(self.servers.home),
            "ZPCODE_DATABASE_URL": self.addresses.database,
            "ZPCODE_REDIS_URL": self.addresses.redis,
            "ZPCODE_KEYRING": str(room.keyring),
            "ZPCODE_ROOT_PUBLIC": str(room.root_public),
            "ZPCODE_SIGNER_SOCKET": str(self.servers.home / "nobody.sock"),
        }

    def start_worker(self) -> None:
        """Start the worker: it copies cards and drains scans."""
        program = "from zpcode import settings, worker; worker.main(settings.load())"
        self.processes.start("worker", [sys.executable, "-c", program], env=self.authority_environment())

    def start_api(self) -> str:
        """Start the authority's API; returns its address."""
        port = _free_port()
        command = [sys.executable, "-m", "uvicorn", "--factory", "--no-proxy-headers", "--no-access-log", "--port", str(port),
                   "--http", "zpcode.server:AuthorityProtocol", "zpcode.app:create_app"]  # fmt: skip
        self.processes.start("api", command, env=self.authority_environment())
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: _status(f"{base}/readyz") == 200, seconds=60)
        return base

    def ready(self, port: int) -> dict[str, Any]:
        """The readiness document of a scan process; empty if it does not answer."""
        try:
            private = self.private_ports[port]
            document: dict[str, Any] = httpx.get(f"http://127.0.0.1:{private}/readyz", timeout=30).json()
        except httpx.TransportError:
            return {}
        return document

    def stands_on(self, port: int) -> str:
        """The source that a scan process reads from: `redis` or `database`."""
        return str(self.ready(port).get("answers_from", ""))

    def until_all_stand_on(self, word: str) -> None:
        """Wait until every scan process reads from this source."""
        for port in self.ports:
            self._until_stands_on(port, word)

    def _until_stands_on(self, port: int, word: str) -> None:
        def there() -> bool:
            assert self.processes.unexpected_exit() is None, self.processes.unexpected_exit()
            return self.stands_on(port) == word

        eventually(there, seconds=60)

    # Servers ----------------------------------------------------------------------------------------

    def frozen_valkey(self) -> AbstractContextManager[None]:
        """Valkey takes connections and answers nothing."""
        return frozen(self.servers.processes.pid("valkey"))

    def frozen_postgres(self) -> AbstractContextManager[None]:
        """PostgreSQL takes connections; none of its processes answers."""
        return frozen(self.servers.processes.pid("postgres"))

    def fill_tables(self) -> None:
        """Make the files of cards and scans longer than `FILE_BYTES`, so that they cannot grow in `full_disk`."""
        # Wait for the worker to make this month's partition: it fails if the default partition has rows of the month.
        eventually(lambda: self.count("pg_class", "relname ~ '^scan_[0-9_]+$'") >= 2, seconds=60)
        # The rows are shorter than any real one, so that no page has room for a real row.
        self.administer(
            "INSERT INTO card SELECT 'z:' || n, -n, decode(md5(n::text), 'hex')" + _numbers(FILE_BYTES // 70),
            "INSERT INTO scan (at, entry, gtin, lot, verdict, city, language, channel)"
            " SELECT now(), n::text, '', '', '', 'filler', '', ''" + _numbers(FILE_BYTES // 60),
            "CHECKPOINT",
        )

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No file of PostgreSQL can grow beyond `FILE_BYTES`: a write fails (EFBIG) as on a full disk (ENOSPC).

        The write-ahead log has segments of 16 MiB and still fits, as if it were on another disk.
        """
        self._bound_files(FILE_BYTES)
        try:
            yield
        finally:
            self._bound_files(resource.RLIM_INFINITY)

    def _bound_files(self, most: int) -> None:
        """Bound the files of every PostgreSQL process, as the user that it runs as; other users may not."""
        server, user = self.servers.processes.pid("postgres"), self.servers.user
        for pid in (server, *children(server)):
            subprocess.run(
                ["/bin/true"],
                check=True,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                preexec_fn=partial(_bound, pid, most),
            )

    def reach_redis_at(self, path: Path) -> None:
        """Use this socket as the address of Redis for processes started from now on."""

        def moved(url: str) -> str:
            return url.rpartition("@")[0] + f"@{path}"

        addresses = self.addresses
        self.addresses = replace(addresses, redis=moved(addresses.redis), scan_redis=moved(addresses.scan_redis))

    def newest(self) -> int:
        """The newest revision in the database."""
        with transaction(self.engine) as connection:
            return outbox.head(connection)

    def count(self, table: str, where: str = "true") -> int:
        """The number of rows of a table."""
        with transaction(self.engine) as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())  # noqa: S608

    def administer(self, *statements: str) -> None:
        """Run statements as PostgreSQL's superuser, each in its own transaction."""
        word = secret_file(self.servers.home / "secrets", "postgres").read_text("ascii").strip()
        with psycopg.connect(
            f"postgresql://postgres:{word}@/zpcode?host={self.servers.postgres_sockets}", autocommit=True
        ) as session:
            for statement in statements:
                session.execute(statement.encode())

    def scans_drained(self) -> None:
        """Wait until every scan that is in Redis now is in the database. New scans may arrive meanwhile."""
        last_entry: Any = self.redis.lindex(redis_keys.INBOX, -1)
        if last_entry is not None:
            eventually(lambda: self.redis.lpos(redis_keys.INBOX, last_entry) is None, seconds=60)
        newest: Any = self.redis.xrevrange(redis_keys.SCANS, count=1)
        if newest:
            last: bytes = newest[0][0]
            eventually(lambda: not self.redis.xrange(redis_keys.SCANS, max=last, count=1), seconds=60)

    # Decisions --------------------------------------------------------------------------------------

    def revoke(self, index: int) -> str:
        """Revoke an item of batch 7 in the database and, if Redis is reachable, in Redis; returns its code."""
        self.registry.commit({card.item_key(GOOD, index): make.standing(State.REVOKED)})
        return self.registry.item(index, GOOD)


def _numbers(most: int) -> str:
    return f" FROM generate_series(1, {most}) n"


def _status(url: str) -> int:
    try:
        return httpx.get(url, timeout=30).status_code
    except httpx.TransportError:
        return 0


def _bound(pid: int, most: int) -> None:
    try:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, hard))
    except ProcessLookupError:
        return  # a session that has just ended


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running() -> Iterator[Installation]:
    """The servers and the cards; no process of the service runs yet."""
    with (
        tempfile.TemporaryDirectory(prefix="zpcode-faults-", dir=in_memory(), ignore_cleanup_errors=True) as folder,
        ExitStack() as stack,
    ):
        home = Path(folder)
        home.chmod(0o711)
        servers = stack.enter_context(Servers(home, durable=False))
        engine = connect(servers.addresses.database, pool_size=5)
        stack.callback(engine.dispose)
        migrate_embedded(servers.addresses)
        redis = Redis.from_url(servers.addresses.admin_redis, socket_timeout=5)
        stack.callback(redis.close)
        projector = Redis.from_url(servers.addresses.redis, socket_timeout=5)
        stack.callback(projector.close)
        registry = ScanAuthority(engine, projector, *make.room_in(home / "room"))
        world = Installation(servers, servers.addresses, engine, redis, registry, Processes(home / "log"))
        stack.callback(world.processes.stop)
        _furnish(registry)
        yield world


def _furnish(registry: ScanAuthority) -> None:
    registry.everything()
    may_be_scanned(registry.engine, range(1, 100))
    revoked = make.standing(State.REVOKED)
    cards: dict[str, Any] = {card.item_key(SCRAPPED, index): revoked for index in range(900, 906)}
    cards[card.batch_key(SCRAPPED)] = make.batch(SCRAPPED, exceptions=True)
    cards[card.batch_key(WITHDRAWN)] = make.batch(WITHDRAWN, timeline=revoked)
    registry.put(cards)
