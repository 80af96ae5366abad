"""An installation that issues and decides until it is lost at once, and what it had promised by then.

Everything that was acknowledged is noted outside the installation: numbers with the digests of their files, and the codes
that were revoked. After a restoration no number may be given again, and no revoked code may be good.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from redis import Redis

from tests.e2e.plant import Plant
from tests.support.issuing_setting import KeyHouse
from tests.support.patience import eventually
from tests.support.status_setting import OPERATOR, ask
from zpcode.embedded.servers import Servers
from zpcode.errors import ZpError
from zpcode.rules.batches.batch import BatchState
from zpcode.rules.status.decisions import Action
from zpcode.services.batches import queue as jobs
from zpcode.services.status.change import change_and_project
from zpcode.store import backups
from zpcode.store.database.session import connect, migrate_embedded, transaction
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope

LEVELS = (Level.ITEM, Level.COMPACT)
QUANTITY = 12
PAUSE_SECONDS = 0.3


@dataclass
class Promises:
    """What was acknowledged: the SHA-256 and the codes of each issued batch, in order, and the codes revoked, with the time."""

    files: dict[int, str] = field(default_factory=dict)
    codes: dict[int, list[str]] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)


@dataclass
class RunningSite:
    """One running installation; `plant` is its parts."""

    home: Path
    servers: Servers
    plant: Plant

    @property
    def redis(self) -> Redis:
        """Valkey as its administrator."""
        return self.plant.redis

    @property
    def environment(self) -> dict[str, str]:
        """The settings of its processes."""
        settings, addresses = self.plant.settings, self.plant.addresses
        values = {name: str(getattr(settings, name)) for name in ("home", "keyring", "root_public", "signer_socket")}
        values |= {"database_url": addresses.database, "redis_url": addresses.redis}
        values |= {"export_dir": str(settings.export_dir)}
        return os.environ | {f"ZPCODE_{name.upper()}": value for name, value in values.items()}

    def zpcode(self, *arguments: str | Path, status: int = 0) -> str:
        """Run a command to its end and return its output."""
        command = [sys.executable, "-m", "zpcode", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def archive(self, folder: Path) -> Iterator[None]:
        """`zpcode backup --wal` as a process."""
        command = [sys.executable, "-m", "zpcode", "backup", str(folder), "--wal"]
        process = subprocess.Popen(command, env=self.environment, stdout=subprocess.DEVNULL)
        try:
            eventually(lambda: any(folder.glob("wal/*/*")))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0

    def clock(self) -> datetime:
        """The time by the database server's clock."""
        with transaction(self.plant.engine) as connection:
            return backups.now(connection)

    def lose_servers(self) -> None:
        """Kill PostgreSQL and Valkey with SIGKILL. The files stay."""
        for name in ("postgres", "valkey"):
            self.servers.processes.kill(name)


@contextmanager
def site(home: Path, house: KeyHouse, *, restored: bool = False) -> Iterator[RunningSite]:
    """An installation in `home`, whose Valkey writes its append-only file. `restored`: its database is there already."""
    with ExitStack() as stack:
        servers = stack.enter_context(Servers(home))
        engine = connect(servers.addresses.database, pool_size=4)
        stack.callback(engine.dispose)
        if not restored:
            migrate_embedded(servers.addresses)
        redis = Redis.from_url(servers.addresses.admin_redis, socket_timeout=5)
        stack.callback(redis.close)
        yield RunningSite(
            home,
            servers,
            Plant(engine, redis, servers.addresses, house, home, ordered=1000 * restored, registered=restored),
        )


class Work:
    """Orders and decisions, one after the other, until a server is gone; a context manager.

    Of each batch one code is revoked by itself, and each fourth batch as a whole.
    """

    def __init__(self, at: RunningSite) -> None:
        self.site, self.promises = at, Promises()
        self._done = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def until(self, more: int) -> None:
        """Wait until so many more batches are issued and decided upon."""
        wanted = self._done + more
        eventually(lambda: self._done >= wanted, seconds=180)

    def _run(self) -> None:
        plant = self.site.plant
        with jobs.IssueQueue(plant.addresses.database) as queue:
            for turn in itertools.count():
                try:
                    self._batch(plant, queue, turn)
                except (ZpError, AssertionError):
                    return  # a server is gone
                if self._stop.wait(PAUSE_SECONDS):
                    return

    def _batch(self, plant: Plant, queue: jobs.IssueQueue, turn: int) -> None:
        number = plant.order(queue, LEVELS[turn % len(LEVELS)], QUANTITY)
        eventually(lambda: self._stop.is_set() or plant.batch(number).state is BatchState.ISSUED, seconds=60)
        batch = plant.batch(number)
        if batch.state is not BatchState.ISSUED:
            return
        paths = plant.paths(number)
        self.promises.files[number], self.promises.codes[number] = batch.sha256, paths
        whole = turn % 4 == 3
        target = str(number) if whole else f"{number}:3"
        asked = ask(Scope.BATCH if whole else Scope.CODE, target, Action.REVOKE)
        change_and_project(plant.engine, plant.redis, asked, caller=OPERATOR, now=datetime.now(UTC))
        self.promises.revoked += paths if whole else [paths[3]]
        self._done += 1


def with_valkey(first: RunningSite, socket: Path, redis: Redis) -> RunningSite:
    """The same installation with another Valkey, at this socket, and with the same passwords."""
    before = first.plant.addresses

    def moved(url: str) -> str:
        return f"{url.rpartition('@')[0]}@{socket}"

    addresses = replace(before, redis=moved(before.redis), scan_redis=moved(before.scan_redis))
    plant = Plant(
        first.plant.engine, redis, addresses, first.plant.house, first.home, first.plant.ordered, registered=True
    )
    return RunningSite(first.home, first.servers, plant)


def survivors(lost: Path, home: Path) -> None:
    """Bring what survived the loss of the database to a new home: the files of Valkey, the code files and their key."""
    for name in ("valkey", "exports"):
        shutil.copytree(lost / name, home / name, ignore=shutil.ignore_patterns("*.acl"))
    shutil.copy2(lost / "secrets" / "files.key", home / "secrets")
