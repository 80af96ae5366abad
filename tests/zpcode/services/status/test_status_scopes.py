"""A decision at each scope, from the request to the consumer's verdict, with Redis and without."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import (
    CITY,
    COUNTY,
    KEY_ID,
    LOT,
    MAKER,
    OPERATOR,
    PROVINCE,
    EnterpriseBatches,
    ask,
    decided,
    in_database,
    in_redis,
    issue,
    item_verdict,
    lot_verdict,
    printed,
    reserved,
    serial_of,
)
from zpcode.projection.client import connect as connect_redis
from zpcode.projection.projector import catch_up
from zpcode.rules.status.decisions import STATES, Action
from zpcode.services.status.change import change, change_and_project
from zpcode.wire.payload import Level
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Bilingual, Scope, State

VERDICTS = {
    State.GOOD: Verdict.VERIFIED,
    State.FLAGGED: Verdict.FLAGGED,
    State.SUSPENDED: Verdict.SUSPENDED,
    State.RECALLED: Verdict.RECALLED,
    State.REVOKED: Verdict.REVOKED,
}


def targets(world: EnterpriseBatches) -> dict[Scope, tuple[object, dict[str, Any]]]:
    """For each scope a target that reaches item 5 of the item batch."""
    return {
        Scope.CODE: (f"{world.item}:5", {}),
        Scope.RANGE: (world.item, {"first": 3, "last": 7}),
        Scope.LOT: (f"{gtin()}:{LOT}", {}),
        Scope.BATCH: (world.item, {}),
        Scope.PRODUCT: (gtin(), {}),
        Scope.RECOGNITION: ("PZB-0001", {}),
        Scope.CERTIFICATE: ("ZM-0001", {}),
        Scope.STANDARD: ("T/ZZB 0001-2023", {}),
        Scope.ENTERPRISE: (uscc(), {}),
        Scope.KEY: (KEY_ID, {}),
    }


@pytest.mark.parametrize("scope", Scope)
def test_a_decision_at_every_scope_reaches_the_consumer_and_is_lifted_again(
    engine: Engine, redis: Redis, now: datetime, world: EnterpriseBatches, scope: Scope
) -> None:
    """Every action of the province; the same verdict from Redis and from the database; flushing Redis changes nothing."""
    target, bounds = targets(world)[scope]
    restore = ask(scope, target, Action.RESTORE, "entered-in-error", **bounds)
    catch_up(engine, redis)  # the worker's: a decision fills no empty Redis
    for action in (Action.FLAG, Action.SUSPEND, Action.RECALL, Action.REVOKE):
        sanctions = {Scope.STANDARD: "", Scope.CERTIFICATE: "certificate-withdrawn"}
        allowed = not (scope is Scope.KEY and action is Action.FLAG) and not (
            action is Action.RECALL and scope not in {Scope.CODE, Scope.RANGE, Scope.LOT, Scope.BATCH, Scope.PRODUCT}
        )
        if not allowed:
            continue
        reason = sanctions.get(scope, "") if action is Action.REVOKE else ""
        made = change_and_project(engine, redis, ask(scope, target, action, reason, **bounds), caller=PROVINCE, now=now)
        assert made.projected
        expected = State.ENDED if (scope, action) == (Scope.STANDARD, Action.REVOKE) else STATES[action]
        assert made.change.state is expected
        for fetch in (in_redis(redis), in_database(engine)):
            verdict = item_verdict(fetch, world.item, 5, now)
            assert verdict.verdict is VERDICTS.get(expected, Verdict.RECOGNITION_ENDED)
            assert verdict.scope is scope
            assert verdict.standing is not None
            assert verdict.standing.decided_by.zh == "浙江省市场监督管理局"
        redis.flushall()
        catch_up(engine, redis)
        assert item_verdict(in_redis(redis), world.item, 5, now).standing == verdict.standing
        change_and_project(engine, redis, restore, caller=PROVINCE, now=now)
        assert item_verdict(in_redis(redis), world.item, 5, now).verdict is Verdict.VERIFIED


def test_a_decision_reaches_its_own_and_nothing_beside_it(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """The next item, the next batch and another product's lot are not affected."""
    fetch = in_database(engine)
    decided(engine, MAKER, now, ask(Scope.CODE, f"{world.item}:5", Action.REVOKE, "scrapped"))
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.REVOKED
    assert item_verdict(fetch, world.item, 6, now).verdict is Verdict.VERIFIED
    decided(engine, MAKER, now, ask(Scope.RANGE, world.item, Action.SUSPEND, "labels-stolen", first=10, last=12))
    verdicts = [item_verdict(fetch, world.item, index, now).verdict for index in range(9, 14)]
    assert verdicts == [Verdict.VERIFIED, *[Verdict.SUSPENDED] * 3, Verdict.VERIFIED]
    decided(engine, MAKER, now, ask(Scope.BATCH, world.item, Action.RECALL, "safety-recall"))
    assert item_verdict(fetch, world.item, 99, now).verdict is Verdict.RECALLED
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.REVOKED
    assert item_verdict(fetch, world.compact, 5, now).verdict is Verdict.VERIFIED
    assert lot_verdict(fetch, gtin(), LOT, now).verdict is Verdict.VERIFIED


def test_a_lot_reaches_its_lot_code_and_every_item_of_it(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Item, compact and lot codes of the lot; not the product's own code."""
    decided(engine, COUNTY, now, ask(Scope.LOT, f"{gtin()}:{LOT}", Action.RECALL, "safety-recall"))
    fetch = in_database(engine)
    assert item_verdict(fetch, world.item, 0, now).verdict is Verdict.RECALLED
    assert item_verdict(fetch, world.compact, 0, now).verdict is Verdict.RECALLED
    assert lot_verdict(fetch, gtin(), LOT, now).verdict is Verdict.RECALLED
    assert lot_verdict(fetch, gtin(), "", now).verdict is Verdict.VERIFIED


def test_an_item_can_be_named_as_it_is_printed(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """By the link on the package, by its serial, and as the ends of a range."""
    made = change(engine, ask(Scope.CODE, printed(engine, world.compact, 8), Action.FLAG), caller=COUNTY, now=now)
    assert made.target == f"{world.compact}:8"
    typed = serial_of(engine, world.item, 9).text.lower()
    made = change(engine, ask(Scope.CODE, typed, Action.FLAG), caller=COUNTY, now=now)
    assert made.target == f"{world.item}:9"
    ends = {"first": serial_of(engine, world.item, 20).text, "last": serial_of(engine, world.item, 22).text}
    made = change(engine, ask(Scope.RANGE, world.item, Action.FLAG, **ends), caller=COUNTY, now=now)
    assert (made.first, made.last) == (20, 22)


def test_a_decision_takes_effect_at_its_time_without_anybody_doing_anything(
    engine: Engine, redis: Redis, now: datetime, world: EnterpriseBatches
) -> None:
    """The card has future decisions, so that neither worker nor projection is needed. A future decision can be lifted."""
    catch_up(engine, redis)
    later = now + timedelta(days=3)
    revoke = ask(
        Scope.PRODUCT, gtin(), Action.REVOKE, "poor-performance", effective_at=later, notice="浙市监公告 2026-7"
    )
    change_and_project(engine, redis, revoke, caller=PROVINCE, now=now)
    fetch = in_redis(redis)
    assert item_verdict(fetch, world.item, 0, later - timedelta(seconds=1)).verdict is Verdict.VERIFIED
    verdict = item_verdict(fetch, world.item, 0, later)
    assert verdict.verdict is Verdict.REVOKED
    assert verdict.standing is not None
    assert verdict.standing.notice == "浙市监公告 2026-7"
    undo = ask(Scope.PRODUCT, gtin(), Action.RESTORE, "entered-in-error", effective_at=later)
    change_and_project(engine, redis, undo, caller=PROVINCE, now=now)
    assert item_verdict(fetch, world.item, 0, later + timedelta(days=1)).verdict is Verdict.VERIFIED


def test_the_consumer_reads_the_public_note_in_both_languages(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """The standing has note, reason and office."""
    note = Bilingual("请停止使用并联系经销商", "Stop using it and contact the seller")
    decided(engine, COUNTY, now, ask(Scope.BATCH, world.item, Action.RECALL, "safety-recall", note=note))
    standing = item_verdict(in_database(engine), world.item, 0, now).standing
    assert standing is not None
    assert (standing.note, standing.reason) == (note, "safety-recall")
    assert standing.decided_by == Bilingual(
        "余杭区市场监督管理局", "Yuhang District Administration for Market Regulation"
    )


def test_a_redis_that_does_not_answer_undoes_nothing(
    engine: Engine, redis: Redis, now: datetime, world: EnterpriseBatches, tmp_path: Any
) -> None:
    """The decision is in the database, the response says that Redis is behind, and the next projection writes it."""
    gone = connect_redis(f"unix://{tmp_path}/nothing.sock")
    asked = ask(Scope.CODE, f"{world.item}:5", Action.REVOKE)
    made = change_and_project(engine, gone, asked, caller=CITY, now=now)
    assert not made.projected
    assert item_verdict(in_database(engine), world.item, 5, now).verdict is Verdict.REVOKED
    catch_up(engine, redis)
    assert item_verdict(in_redis(redis), world.item, 5, now).verdict is Verdict.REVOKED
    assert not change_and_project(engine, None, ask(Scope.CODE, f"{world.item}:6", Action.FLAG), caller=CITY, now=now)[
        1
    ]


def test_issuing_keeps_what_was_decided_before(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """Issuing and decisions both write a batch's card; neither drops the other's part."""
    batch = reserved(engine, Level.ITEM, 1, MAKER, now, key="second")
    assert batch.number != world.item
    decided(engine, MAKER, now, ask(Scope.RANGE, batch.number, Action.REVOKE, "scrapped", first=0, last=4))
    decided(engine, OPERATOR, now, ask(Scope.CODE, f"{batch.number}:50", Action.SUSPEND))
    decided(engine, COUNTY, now, ask(Scope.BATCH, batch.number, Action.FLAG))
    issue(engine, batch, now)
    fetch = in_database(engine)
    verdicts = [item_verdict(fetch, batch.number, index, now).verdict for index in (0, 50, 60)]
    assert verdicts == [Verdict.REVOKED, Verdict.SUSPENDED, Verdict.FLAGGED]
