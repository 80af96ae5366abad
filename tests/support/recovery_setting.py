"""A service of every kind of batch and decision whose database is restored and recovered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import fsck_setting
from tests.support.code_folders import code_folder
from tests.support.fsck_setting import CheckedService
from tests.support.issuing_setting import KeyHouse, key_house
from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import LOT, MAKER, OPERATOR, ask, in_redis, item_verdict, reserved
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Text
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch
from zpcode.rules.status.decisions import Action
from zpcode.services.batches import issue
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


@pytest.fixture
def service(engine: Engine, redis: Redis, addresses: ServerAddresses, tmp_path: Path) -> Iterator[Restorable]:
    """Everything as the services make it, and a signer that signed nothing else."""
    own = key_house(tmp_path / "keys")
    with own.signer(1):
        made = Restorable(fsck_setting.settle(engine, redis, own, code_folder(tmp_path / "exports")), own, addresses)
        made.decide(Scope.LOT, f"{gtin(1)}:{LOT}", Action.RESTORE)
        made.decide(Scope.ENTERPRISE, uscc(1), Action.RESTORE)
        yield made
