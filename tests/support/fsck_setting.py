"""The setting of the fsck tests: a registry, issued batches of every level with their files, decisions at many scopes,
scans, and Redis up to date. Everything was made by the services, so every check holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from sqlalchemy import Connection, Engine, text

from tests.support.code_folders import content, put_content
from tests.support.databases import as_owner
from tests.support.issuing_setting import KeyHouse
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.status_setting import LOT, MAKER, OPERATOR, ask, decided, reserved
from zpcode.projection import projector
from zpcode.rules.access import Role
from zpcode.rules.batches.batch import Batch
from zpcode.rules.complaints.complaint import ComplaintForm, ComplaintKind, ComplaintStep, StepRequest
from zpcode.rules.journey import EventRequest, Subject
from zpcode.rules.status.decisions import Action
from zpcode.services import access, complaints, scans
from zpcode.services.batches import issue
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.complaints import ComplaintSubject, SentComplaint
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, FsckReport, InvariantState
from zpcode.services.journey import events as journey
from zpcode.services.registry.importing import import_registry
from zpcode.services.registry.product_cards import turn_cards
from zpcode.store import batches
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today
from zpcode.wire.card import History
from zpcode.wire.functions import histories
from zpcode.wire.payload import Level
from zpcode.wire.scan_event import ScanEvent, encode
from zpcode.wire.vocabulary import Scope

_GUARDED = ("audit", "status_change", "trace_event", "batch", "lost_batch", "recovery")
"""Tables that triggers protect."""


@dataclass(frozen=True, slots=True)
class CheckedService:
    """The numbers of the issued batches by level and of a reserved one, and everything that a check reads."""

    engine: Engine
    redis: Redis
    context: CheckContext
    item: int
    compact: int
    product: int
    lot: int
    waiting: int

    def check(self, **changes: Any) -> FsckReport:
        """The report of a run with these changes to the context."""
        return run.check(replace(self.context, **changes))

    def of(self, name: str, **changes: Any) -> CheckResult:
        """One check alone."""
        return run.check(replace(self.context, **changes), only=[name]).of(name)

    def reasons(self, name: str) -> Counter[str]:
        """How many findings of each reason one check has, in a deep run. Every check names a remedy."""
        result = self.of(name, deep=True)
        assert (result.state is InvariantState.BROKEN) == bool(result.findings)
        assert result.invariant.remedy.zh
        assert result.invariant.remedy.en
        return Counter(finding.reason for finding in result.findings)

    def file(self, number: int) -> Path:
        """A batch's file."""
        return self.context.exports.path / f"batch-{number}.csv"

    def change_content(self, number: int, change: Callable[[bytes], bytes]) -> None:
        """Change the content of a batch's file as somebody does who has the file key."""
        folder = self.context.exports
        with transaction(self.engine) as connection:
            batch = batches.get(connection, number)
        assert batch is not None
        put_content(folder, batch, change(content(folder, batch)))

    @contextmanager
    def tampering(self) -> Iterator[Connection]:
        """A connection as the owner of the database, with the triggers switched off."""
        with as_owner(self.engine) as connection:
            for table in _GUARDED:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            yield connection
            for table in _GUARDED:
                connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))

    def sql(self, statement: str, **values: Any) -> None:
        """Run one statement that tampers with the database."""
        with self.tampering() as connection:
            changed = connection.execute(text(statement), {**self.numbers, **values})
            assert changed.rowcount != 0, "the damage did nothing"

    @property
    def numbers(self) -> dict[str, Any]:
        """Names that statements may use."""
        return {
            "item": self.item,
            "compact": self.compact,
            "product": self.product,
            "lot": self.lot,
            "waiting": self.waiting,
            "gtin": gtin(1),
            "uscc": uscc(1),
        }


def settle(engine: Engine, redis: Redis, house: KeyHouse, folder: CodeFolder) -> CheckedService:
    """Everything, as the services make it."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    import_registry(engine, as_json(registry(1)), actor=OPERATOR.name, now=now)
    turn_cards(engine, now=now)
    made = [
        _issued(engine, house, folder, level, now) for level in (Level.ITEM, Level.COMPACT, Level.PRODUCT, Level.LOT)
    ]
    waiting = reserved(engine, Level.ITEM, 1, MAKER, datetime.now(UTC), "waiting").number
    item, compact, product, lot = (batch.number for batch in made)
    _decided(engine, item, compact, now + timedelta(minutes=1))
    _travelled(engine, item, now)
    _complained(engine, now)
    scans.ensure_partitions(engine, today(datetime.now(UTC)))
    projector.catch_up(engine, redis)
    _scanned(engine, redis, item, now)
    access.create(engine, Role.ENTERPRISE, uscc(1), "MES", caller=OPERATOR, now=now)
    context = CheckContext(
        engine, redis, folder, lambda: house.keyring, datetime.now(UTC), patience=0, pause=lambda _: None
    )
    return CheckedService(engine, redis, context, item, compact, product, lot, waiting)


def _issued(engine: Engine, house: KeyHouse, folder: CodeFolder, level: Level, now: datetime) -> Batch:
    number = reserved(engine, level, 1, MAKER, now).number
    with house.client() as signer:
        return issue.issue(engine, signer, number, folder=folder, clock=lambda: now)


def _decided(engine: Engine, item: int, compact: int, now: datetime) -> None:
    later = now + timedelta(days=2)
    with transaction(engine) as connection:
        batch = batches.get(connection, item)
    assert batch is not None
    decided(
        engine,
        OPERATOR,
        now,
        ask(Scope.CODE, f"{item}:5", Action.REVOKE),
        ask(Scope.CODE, f"{item}:6", Action.FLAG),
        ask(Scope.CODE, f"{item}:6", Action.RESTORE),
        ask(Scope.RANGE, item, Action.SUSPEND, first=10, last=19),
        ask(Scope.RANGE, item, Action.RESTORE, first=15, last=16),
        ask(Scope.BATCH, compact, Action.FLAG),
        ask(Scope.BATCH, compact, Action.REVOKE, effective_at=later),
        ask(Scope.LOT, f"{batch.gtin}:{batch.lot}", Action.RECALL, notice="浙市监召〔2026〕1号"),
        ask(Scope.ENTERPRISE, batch.uscc, Action.FLAG),
        ask(Scope.KEY, batch.key_id, Action.SUSPEND),
        ask(Scope.KEY, batch.key_id, Action.RESTORE),
    )


def _travelled(engine: Engine, item: int, now: datetime) -> None:
    """Events of the lot and of the batch, one withdrawn and one superseded."""
    lot, own = Subject(gtin=gtin(1), lot=LOT), Subject(item)
    for subject, kind in ((lot, "produced"), (lot, "inspected"), (own, "packed"), (own, "shipped")):
        journey.record(engine, subject, [EventRequest(kind, "2026-10-08")], caller=MAKER, now=now)
    wrong, late = journey.events(engine, own, MAKER)
    journey.withdraw(engine, own, wrong.id, "另一批次", caller=MAKER, now=now)
    again = EventRequest("shipped", "2026-10-09", document="YD-1", supersedes=late.id)
    journey.record(engine, own, [again], caller=MAKER, now=now)


def _complained(engine: Engine, now: datetime) -> None:
    """A complaint with a contact, closed."""
    form = ComplaintForm(ComplaintKind.QUALITY, "It broke", contact="13800000000")
    number = complaints.receive(engine, SentComplaint(form, bytes(16)), ComplaintSubject(), (), now=now).number
    complaints.take(engine, number, StepRequest(ComplaintStep.CLOSE, "Replaced"), caller=OPERATOR, now=now)


def _scanned(engine: Engine, redis: Redis, item: int, now: datetime) -> None:
    """Four scans of two items, of which three count; counted in Redis and drained."""
    at = int(now.timestamp() * 1000)
    views = [(1, True, 0), (1, True, 1000), (2, True, 2000), (1, False, 3000)]
    events = [
        ScanEvent(at + late, gtin(1), "", item, index, "verified", "杭州|Hangzhou", "", b"", "zh", "browser", counted)
        for index, counted, late in views
    ]
    for index, count in ((1, 2), (2, 1)):
        where, name = redis_keys.history(item, index)
        redis.hset(where, name, histories.pack(History(count, 1)))
    redis.rpush(redis_keys.INBOX, encode(events))
    assert scans.drain(engine, redis, consumer="one") == 1
