"""Any history, cut at any point by a restore: after the recovery nothing that was taken back is good, and no number comes again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import Engine

from tests.support import restores
from tests.support.code_folders import code_folder
from tests.support.issuing_setting import KeyHouse, key_house
from tests.support.recovery_setting import agreed
from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import (
    CITY,
    COUNTY,
    LOT,
    MAKER,
    OPERATOR,
    PROVINCE,
    EnterpriseBatches,
    ask,
    furnished,
    in_database,
    in_redis,
    item_verdict,
    reserved,
    world,
)
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import ZpError
from zpcode.projection import projector
from zpcode.rules.status.decisions import Action
from zpcode.services import audit
from zpcode.services.batches import issue
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.report import RecoverySetting
from zpcode.services.continuity.witnesses import FilesWitness, RedisWitness, Witness, numbers_of
from zpcode.services.status.change import change_and_project
from zpcode.store import batches, continuity
from zpcode.store.database.session import transaction
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Scope

__all__ = ["furnished", "world"]

ITEMS = (0, 3, 12, 50)
DECIDERS = (MAKER, COUNTY, CITY, PROVINCE, OPERATOR)
TAKEN_BACK = {Verdict.SUSPENDED: 1, Verdict.RECALLED: 2, Verdict.REVOKED: 3}

decisions = st.tuples(
    st.sampled_from(DECIDERS),
    st.sampled_from(["item:3", "compact:12", "range", "item", "compact", "lot", "product", "enterprise"]),
    st.sampled_from(list(Action)),
    st.sampled_from([0, 0, 0, 3600]),
)
steps = st.one_of(decisions, decisions, decisions, st.just("order"), st.just("issue"))
histories = st.lists(steps, min_size=1, max_size=8)


class RandomHistory(NamedTuple):
    """The installation that a history runs on."""

    engine: Engine
    redis: Redis
    world: EnterpriseBatches
    folder: CodeFolder
    house: KeyHouse
    now: datetime

    def run(self, done: Sequence[Any], first: int) -> None:
        """Take the steps; what a rule refuses is no step."""
        for number, step in enumerate(done, first):
            with suppress(ZpError):
                self._take(step, number)
            projector.catch_up(self.engine, self.redis)

    def _take(self, step: Any, number: int) -> None:
        at = self.now + timedelta(minutes=number)
        if step == "order":
            reserved(self.engine, Level.COMPACT, 1, MAKER, at, f"step-{number}")
        elif step == "issue":
            new = reserved(self.engine, Level.COMPACT, 1, MAKER, at, f"step-{number}")
            issue.issue(self.engine, _NoSigner(), new.number, folder=self.folder, clock=lambda: at)  # type: ignore[arg-type]
        else:
            self._decide(step, at)

    def _decide(self, step: Any, at: datetime) -> None:
        caller, about, action, later = step
        targets: dict[str, tuple[Scope, object, dict[str, Any]]] = {
            "item:3": (Scope.CODE, f"{self.world.item}:3", {}),
            "compact:12": (Scope.CODE, f"{self.world.compact}:12", {}),
            "range": (Scope.RANGE, self.world.item, {"first": 2, "last": 15}),
            "item": (Scope.BATCH, self.world.item, {}),
            "compact": (Scope.BATCH, self.world.compact, {}),
            "lot": (Scope.LOT, f"{gtin(1)}:{LOT}", {}),
            "product": (Scope.PRODUCT, gtin(1), {}),
            "enterprise": (Scope.ENTERPRISE, uscc(1), {}),
        }
        scope, target, more = targets[about]
        if later:
            more = {**more, "effective_at": at + timedelta(seconds=later)}
        change_and_project(self.engine, self.redis, ask(scope, target, action, **more), caller=caller, now=at)

    def verdicts(self, numbers: Sequence[int], at: datetime) -> list[Verdict]:
        """What scans of these batches show, from the cards in Redis."""
        return [item_verdict(in_redis(self.redis), number, index, at).verdict for number in numbers for index in ITEMS]


class _NoSigner:
    """A compact batch needs no signature."""


def _numbers(engine: Engine) -> list[int]:
    with transaction(engine) as connection:
        marks = continuity.marks(connection).reached
    return [number for number in range(1, marks.batch + 1) if in_database(engine)(f"b:{number}") is not None]


def _check(history: RandomHistory, addresses: ServerAddresses, before: list[Any], after: list[Any]) -> None:
    """Run, dump, run on, restore, recover; then compare with what was shown before the restore."""
    history.run(before, 1)
    dumped = restores.dump(addresses)
    history.run(after, len(before) + 1)
    items = [history.world.item, history.world.compact]
    issued = [number for number in _numbers(history.engine) if number > history.world.lot]
    moments = [history.now + timedelta(minutes=30), history.now + timedelta(hours=3)]
    shown = [history.verdicts([*items, *issued], moment) for moment in moments]
    with transaction(history.engine) as connection:
        reached = continuity.marks(connection).reached
    restores.restore(addresses, dumped)

    witnesses: list[Witness] = [RedisWitness(history.redis), FilesWitness(history.folder.path)]
    setting = RecoverySetting(
        history.engine, history.redis, history.folder, witnesses, lambda: history.house.keyring, "https://zpm.example", OPERATOR,
        history.now + timedelta(minutes=25),
    )  # fmt: skip
    report = agreed(setting)
    projector.catch_up(history.engine, history.redis)
    assert ContinuityGate(history.engine, witnesses).compare() == ()
    only_ordered = set(issued) - set(numbers_of(history.folder.path))
    of = [number for number in (*items, *issued) for _ in ITEMS]
    for moment, old in zip(moments, shown, strict=True):
        for number, was, now in zip(of, old, history.verdicts([*items, *issued], moment), strict=True):
            assert TAKEN_BACK.get(now, 0) >= TAKEN_BACK.get(was, 0), (was, now)
            assert now not in {Verdict.UNKNOWN, Verdict.SEAL_INVALID}
            assert now is not Verdict.UNCONFIRMED or number in only_ordered, (
                "an order whose record is lost is placed again"
            )
    with transaction(history.engine) as connection:
        new, marks = batches.next_number(connection), continuity.marks(connection)
    assert new > reached.batch
    assert marks.assigned.decision >= reached.decision
    assert marks.reached.audit > reached.audit or not report.evidence
    assert audit.verify(history.engine).whole


def _property(
    engine: Engine,
    redis: Redis,
    addresses: ServerAddresses,
    world: EnterpriseBatches,
    folder: Path,
    now: datetime,
    examples: int,
) -> None:
    empty = restores.dump(addresses)
    rounds, house = iter(range(10**6)), key_house(folder / "keys")

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(before=histories, after=histories)
    def prop(before: list[Any], after: list[Any]) -> None:
        restores.restore(addresses, empty)
        redis.flushall()
        own = folder / str(next(rounds))
        own.mkdir()
        history = RandomHistory(engine, redis, world, code_folder(own / "exports"), house, now)
        history.folder.make()
        projector.catch_up(engine, redis)
        _check(history, addresses, before, after)

    prop()


def test_a_few_histories(
    engine: Engine, redis: Redis, addresses: ServerAddresses, world: EnterpriseBatches, tmp_path: Path, now: datetime
) -> None:
    """As many as a quick run has time for."""
    _property(engine, redis, addresses, world, tmp_path, now, 3)


@pytest.mark.proof
def test_many_histories(
    engine: Engine, redis: Redis, addresses: ServerAddresses, world: EnterpriseBatches, tmp_path: Path, now: datetime
) -> None:
    """Decisions of every level at every scope, pending ones, orders and issued batches."""
    _property(engine, redis, addresses, world, tmp_path, now, 40)
