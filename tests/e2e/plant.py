"""An installation whose parts a test kills and replaces: registry, signer, workers, scan processes, visitors."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

import httpx
from redis import Redis
from sqlalchemy import Engine, select

from tests.e2e import worker_process
from tests.faults.scan_processes import ScanProcess
from tests.support.code_folders import content
from tests.support.issuing_setting import KeyHouse
from tests.support.registry_data import as_json, gtin, registry
from tests.support.status_setting import MAKER, OPERATOR
from zpcode.embedded.servers import ServerAddresses
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch, BatchRequest
from zpcode.services.batches import code_file, file_keys, issue, reserve
from zpcode.services.batches import queue as jobs
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.registry.importing import import_registry
from zpcode.settings import AuthoritySettings
from zpcode.store.database.session import transaction
from zpcode.store.tables.codes import batch
from zpcode.wire import redis_keys
from zpcode.wire.link import path_of
from zpcode.wire.payload import Level


@dataclass
class Plant:
    """A registered enterprise with a product, and the installation that serves it. At first only the servers run.

    `registered`: the database has the enterprise already, and the key of the code files is in its place.
    """

    engine: Engine
    redis: Redis
    addresses: ServerAddresses
    house: KeyHouse
    home: Path
    ordered: int = 0
    registered: bool = False
    settings: AuthoritySettings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = AuthoritySettings(
            home=self.home,
            database_url=self.addresses.database,
            redis_url=self.addresses.redis,
            signer_socket=self.house.socket,
            keyring=self.house.room.keyring,
            root_public=self.house.room.root_public,
        )
        if not self.registered:
            file_keys.create(self.settings.file_key)
            import_registry(self.engine, as_json(registry(1)), actor=OPERATOR.name, now=datetime.now(UTC))

    @property
    def folder(self) -> CodeFolder:
        """The folder of the code files."""
        return CodeFolder(self.settings.export_dir, self.settings.file_key)

    def order(self, queue: jobs.IssueQueue | None, level: Level, quantity: int) -> int:
        """Reserve a batch as an enterprise does and, if a queue is given, queue it for issuing."""
        self.ordered += 1
        request = BatchRequest(level, gtin(1), quantity, lot="L-1" if level is Level.LOT else "")
        made = reserve.reserve(
            self.engine, request, caller=MAKER, idempotency_key=f"{self.ordered}", base="https://zpm.example",
            now=datetime.now(UTC),
        )  # fmt: skip
        if queue is not None:
            queue.defer_issue(made.number)
        return made.number

    def batch(self, number: int) -> Batch:
        """A batch as it is in the database."""
        return reserve.get(self.engine, number, MAKER)

    def codes(self, quantity: int) -> list[str]:
        """The paths of a new batch of item codes, issued by this process."""
        number = self.order(None, Level.ITEM, quantity)
        with self.house.client() as signer:
            issue.issue(self.engine, signer, number, folder=self.folder, clock=lambda: datetime.now(UTC))
        projector.catch_up(self.engine, self.redis)
        return self.paths(number)

    def paths(self, number: int) -> list[str]:
        """The paths of an issued batch's codes, in the order of their index."""
        rows = content(self.folder, self.batch(number)).decode("ascii").splitlines()[1:]
        return [path_of(row.partition(",")[0]) for row in rows]

    def worker(self, name: str, *, chunk: int = code_file.CHUNK, metrics: str = "") -> ForkServerProcess:
        """Start a worker; its output is in NAME.log."""
        settings = self.settings.model_copy(update={"metrics_address": metrics})
        return worker_process.started(settings, self.home / f"{name}.log", chunk=chunk)

    def at_rest(self) -> bool:
        """Whether every batch is issued and every scan drained."""
        with transaction(self.engine) as connection:
            waiting = connection.execute(select(batch.c.number).where(batch.c.state == "reserved")).first()
        drained = not self.redis.exists(redis_keys.INBOX) and self.redis.xlen(redis_keys.SCANS) == 0
        return waiting is None and drained

    def same_as_in_one_go(self, number: int, directory: Path) -> bool:
        """Whether a batch's file equals, byte for byte, the file that an uninterrupted run writes into `directory`."""
        made = self.batch(number)
        with self.house.client() as signer:
            again = CodeFolder(directory, self.settings.file_key)
            file = code_file.produce(made, signer, again)
        same = content(again, made) == content(self.folder, made)
        return file is not None and file.sha256 == made.sha256 and same

    def fsck(self) -> list[dict[str, Any]]:
        """The checks that do not hold, from the command `zpcode fsck --deep` on the running installation."""
        names = ("home", "database_url", "redis_url", "keyring", "root_public", "file_key", "signer_socket")
        environ = {f"ZPCODE_{name.upper()}": str(getattr(self.settings, name)) for name in names}
        command = [sys.executable, "-m", "zpcode", "fsck", "--deep", "--json"]
        done = subprocess.run(command, env=os.environ | environ, check=False, capture_output=True, text=True)
        assert done.stdout, done.stderr
        report = json.loads(done.stdout)
        assert report["whole"] == (done.returncode == 0)
        return [check for check in report["checks"] if check["state"] != "holds"]


@dataclass
class People:
    """Phones that scan codes at random through these services, every scan as another visitor. No two phones share a code.

    `outcomes` has, for each path, the verdict and the number of scans of each answer, in order; None for a
    response without a verdict.
    """

    services: Sequence[ScanProcess]
    paths: Sequence[str]
    outcomes: defaultdict[str, list[tuple[str, int] | None]] = field(default_factory=lambda: defaultdict(list))
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.threads = [threading.Thread(target=self._scan, args=(place,)) for place in range(len(self.services))]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Stop all phones."""
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def views(self) -> dict[str, int]:
        """The number of scans of each path."""
        return {path: len(outcome) for path, outcome in list(self.outcomes.items())}

    def verdicts(self, path: str) -> list[str]:
        """The verdicts of a path in order; empty for a response without one."""
        return ["" if outcome is None else outcome[0] for outcome in list(self.outcomes[path])]

    def _scan(self, place: int) -> None:
        chance = random.Random(place)
        own = self.paths[place :: len(self.services)]
        with httpx.Client(base_url=self.services[place].base, timeout=30) as client:
            for number in count():
                if self.stop.wait(0.02):
                    return
                path = chance.choice(own)
                self.outcomes[path].append(_outcome(client, path, f"phone {number} of {place}"))


def _outcome(client: httpx.Client, path: str, who: str) -> tuple[str, int] | None:
    try:
        answer = client.get(path, headers={"user-agent": who, "accept": "application/json"})
        body = answer.json()
        return body["verdict"], (body["history"] or {}).get("scans", 0)
    except (httpx.HTTPError, ValueError, KeyError):
        return None
