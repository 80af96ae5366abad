"""A service of every kind of batch and decision whose database is restored and recovered."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import databases, fsck_setting
from tests.support.code_folders import code_folder
from tests.support.databases import Furnished
from tests.support.fsck_setting import CheckedService
from tests.support.issuing_setting import KeyHouse, key_house, key_room_in
from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import LOT, MAKER, OPERATOR, ask, in_redis, item_verdict, reserved
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import Text
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch
from zpcode.rules.status.decisions import Action
from zpcode.services.batches import issue
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.queue import IssueQueue
from zpcode.services.continuity import settling, waiting
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.recover import recover
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.services.continuity.witnesses import FilesWitness, RedisWitness, SignerWitness, Witness
from zpcode.services.fsck.report import FsckReport
from zpcode.services.status.change import change_and_project
from zpcode.store import batches
from zpcode.store.database.session import transaction
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope


def agreed(setting: RecoverySetting) -> RecoveryReport:
    """Look what a recovery would do, then do exactly that."""
    return recover(setting, agreed=recover(setting).digest)


@dataclass(frozen=True, slots=True)
class Restorable:
    """A service of every kind of batch and decision, its signer, and the clock of this test."""

    checked: CheckedService
    house: KeyHouse
    addresses: ServerAddresses

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.checked.engine

    @property
    def redis(self) -> Redis:
        """Redis."""
        return self.checked.redis

    @property
    def setting(self) -> RecoverySetting:
        """What `zpcode recover` works with."""
        exports = self.checked.context.exports
        witnesses: list[Witness] = [
            RedisWitness(self.redis),
            FilesWitness(exports.path, exports.key_file),
            SignerWitness(self.house.client()),
        ]
        return RecoverySetting(self.engine, self.redis, exports, witnesses, lambda: self.house.keyring,
                               "https://zpm.example", OPERATOR, datetime.now(UTC), signer=self.house.client())  # fmt: skip

    def decide(self, scope: Scope, target: object, action: Action, **changes: Any) -> None:
        """Decide and project, as the operator."""
        now = datetime.now(UTC)
        change_and_project(self.engine, self.redis, ask(scope, target, action, **changes), caller=OPERATOR, now=now)

    def issue(self, level: Level, key: str) -> Batch:
        """Issue a new batch and project it."""
        now = datetime.now(UTC)
        number = reserved(self.engine, level, 1, MAKER, now, key).number
        with self.house.client() as signer:
            new = issue.issue(self.engine, signer, number, folder=self.checked.context.exports, clock=lambda: now)
        projector.catch_up(self.engine, self.redis)
        return new

    def recover(self, **options: Any) -> RecoveryReport:
        """Recover and project. `options` replace those of the setting."""
        report = agreed(replace(self.setting, **options))
        projector.catch_up(self.engine, self.redis)
        return report

    def confirm_all(self) -> list[Text]:
        """Confirm all that waits, and project."""
        with transaction(self.engine) as connection:
            items = waiting.listing(connection, datetime.now(UTC))
        recorded = settling.confirm_all(self.setting, waiting.digest_of(items))
        projector.catch_up(self.engine, self.redis)
        return recorded

    def fsck(self, gate: ContinuityGate, **options: Any) -> FsckReport:
        """The report of fsck."""
        return self.checked.check(now=datetime.now(UTC), behind=gate.compare, **options)

    def verdict(self, number: int, index: int) -> Verdict:
        """What a scan shows, from the cards in Redis."""
        return item_verdict(in_redis(self.redis), number, index, datetime.now(UTC)).verdict

    def batch(self, number: int) -> Batch | None:
        """A batch as it is recorded."""
        with transaction(self.engine) as connection:
            return batches.get(connection, number)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a restorable service is copied from: its files, its values in Redis, and what was issued."""

    files: Path
    redis: Mapping[bytes, bytes]
    checked: CheckedService


@pytest.fixture(scope="session")
def furnished(servers: Servers, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Furnished[Prepared]:
    """Everything as the services make it, made once: a database to copy, Redis and files."""
    files = tmp_path_factory.mktemp("restorable")

    def fill(engine: Engine) -> Prepared:
        own = key_house(files / "keys")
        with closing(Redis.from_url(servers.addresses.admin_redis)) as redis, own.signer(1):
            redis.flushall()
            checked = fsck_setting.settle(engine, redis, own, code_folder(files / "exports"))
            now = datetime.now(UTC)
            with IssueQueue(_database_url(engine)) as queue:  # what waits longer than a minute has a job
                assert queue.defer_issue(checked.waiting)
            for scope, target in ((Scope.LOT, f"{gtin(1)}:{LOT}"), (Scope.ENTERPRISE, uscc(1))):
                asked = ask(scope, target, Action.RESTORE)
                change_and_project(engine, redis, asked, caller=OPERATOR, now=now)
            values: dict[bytes, Any] = {bytes(key): redis.dump(key) for key in redis.scan_iter()}
            return Prepared(files, values, checked)

    return databases.furnish(servers, migrated, fill)


def _database_url(engine: Engine) -> str:
    """The engine's database as libpq takes it."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def service(
    furnished: Furnished[Prepared], engine: Engine, redis: Redis, addresses: ServerAddresses, tmp_path: Path
) -> Iterator[Restorable]:
    """A service of its own, and a signer that signed nothing else."""
    prepared = furnished.content
    for name in ("keys", "exports", "exports.files.key"):
        _copy(prepared.files / name, tmp_path / name)
    for key, value in prepared.redis.items():
        redis.restore(key, 0, value)
    house = KeyHouse(key_room_in(tmp_path / "keys"), tmp_path / "keys")
    folder = CodeFolder(tmp_path / "exports", tmp_path / "exports.files.key")
    made = prepared.checked
    context = replace(
        made.context, engine=engine, redis=redis, exports=folder, keyring=lambda: house.keyring, now=datetime.now(UTC)
    )
    with house.signer(1):
        yield Restorable(replace(made, engine=engine, redis=redis, context=context), house, addresses)


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder with its modes; two names of one file stay so (the signer keeps a second name of its log)."""
    subprocess.run(["cp", "-a", source, target], check=True)
