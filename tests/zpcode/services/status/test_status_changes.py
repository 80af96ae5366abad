"""Decisions: records, permissions, repetitions, and concurrent decisions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.databases import as_owner
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.status_setting import (
    BASIS,
    CITY,
    COUNTY,
    ELSEWHERE,
    KEY_ID,
    LOT,
    MAKER,
    NINGBO,
    OPERATOR,
    OTHER,
    PROVINCE,
    EnterpriseBatches,
    ask,
    decided,
    in_database,
    item_verdict,
    printed,
    serial_of,
    settle,
)
from zpcode.errors import Conflict, Forbidden, NotFound, Refused
from zpcode.rules.access import Caller
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services import audit
from zpcode.services.registry.importing import import_registry
from zpcode.services.status.change import change, feed, history, notices
from zpcode.store import audit as log
from zpcode.store.database.session import transaction
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Bilingual, Scope, State


def refused(engine: Engine, caller: Caller, now: datetime, asked: StatusRequest) -> tuple[str, ...]:
    """The reasons of a refusal of any kind."""
    with pytest.raises((Refused, Conflict)) as caught:
        change(engine, asked, caller=caller, now=now)
    return tuple(finding.reason for finding in caught.value.findings)


def test_what_is_anothers_is_answered_like_what_does_not_exist(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """At each scope, for the other enterprise and the other city, with the same text as for an unknown target."""
    unknown = {
        Scope.CODE: "60000000:5",
        Scope.RANGE: "60000000",
        Scope.LOT: f"{gtin(9)}:{LOT}",
        Scope.BATCH: "60000000",
        Scope.PRODUCT: gtin(9),
        Scope.RECOGNITION: "PZB-9999",
        Scope.ENTERPRISE: uscc(9),
    }
    theirs = {
        Scope.CODE: f"{world.item}:5",
        Scope.RANGE: str(world.item),
        Scope.LOT: f"{gtin()}:{LOT}",
        Scope.BATCH: str(world.item),
        Scope.PRODUCT: gtin(),
        Scope.RECOGNITION: "PZB-0001",
        Scope.ENTERPRISE: uscc(),
    }
    settle(engine, now, 2)
    for scope, target in theirs.items():
        bounds: dict[str, Any] = {"first": 0, "last": 1} if scope is Scope.RANGE else {}
        for caller in (OTHER, NINGBO) if scope in {Scope.CODE, Scope.RANGE, Scope.LOT, Scope.BATCH} else (NINGBO,):
            words = []
            for name in (target, unknown[scope]):
                with pytest.raises(NotFound) as caught:
                    change(
                        engine,
                        ask(scope, name, Action.FLAG, "cloning-suspected" if caller is OTHER else "", **bounds),
                        caller=caller,
                        now=now,
                    )
                words.append(caught.value.text.en.replace(name, "…"))
            assert words[0] == words[1]
        with pytest.raises(NotFound):
            history(engine, scope, target, OTHER)
        assert history(engine, scope, target, COUNTY) == []


def test_standards_and_keys_are_for_this_provinces_office_alone(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """An office of another province gets 404; everybody may read their history."""
    assert world.item
    for scope, target in ((Scope.STANDARD, "T/ZZB 0001-2023"), (Scope.KEY, KEY_ID)):
        asked = ask(scope, target, Action.SUSPEND)
        with pytest.raises(NotFound):
            change(engine, asked, caller=ELSEWHERE, now=now)
        with pytest.raises(Forbidden):
            change(engine, asked, caller=CITY, now=now)
        assert change(engine, asked, caller=PROVINCE, now=now).uscc is None
        assert [entry.action for entry in history(engine, scope, target, OTHER)] == [Action.SUSPEND]
    with pytest.raises(NotFound):
        change(engine, ask(Scope.KEY, "ZZZZ", Action.REVOKE), caller=OPERATOR, now=now)


def test_an_item_that_its_batch_does_not_have_is_not_found(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Beyond the quantity, of another product, with a wrong check, of a batch without items."""
    wrong_check = printed(engine, world.compact, 1)[:-1] + "0"
    if wrong_check == printed(engine, world.compact, 1):
        wrong_check = wrong_check[:-1] + "1"
    serial = serial_of(engine, world.item, 1).text
    beyond = serial_of(engine, world.item, 100).text
    for target in (f"{world.item}:100", beyond, f"/01/{gtin(2)}/21/{serial}", wrong_check, f"{serial}00000000"):
        with pytest.raises(NotFound):
            change(engine, ask(Scope.CODE, target, Action.FLAG), caller=COUNTY, now=now)
    for number, scope in ((world.product, Scope.CODE), (world.lot, Scope.BATCH), (world.lot, Scope.RANGE)):
        target = f"{number}:0" if scope is Scope.CODE else str(number)
        bounds: dict[str, Any] = {"first": 0, "last": 1} if scope is Scope.RANGE else {}
        assert refused(engine, COUNTY, now, ask(scope, target, Action.FLAG, **bounds)) == ("target",)


@pytest.mark.parametrize(("first", "last"), [(0, 100), (5, 4), ("60000000:1", 5), (100, 100), (10**30, 10**30)])
def test_a_range_lies_within_its_batch(
    engine: Engine, now: datetime, world: EnterpriseBatches, first: int | str, last: int | str
) -> None:
    """And ends after it begins."""
    assert refused(engine, COUNTY, now, ask(Scope.RANGE, world.item, Action.FLAG, first=first, last=last)) == ("range",)


def test_every_decision_is_audited_whole(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """One entry for each decision, with the data of its row; the chain holds; a refused decision has no entry."""
    note = Bilingual("公开说明", "public note")
    asked = ask(Scope.RANGE, world.item, Action.RECALL, "safety-recall", first=1, last=2, note=note, notice="2026-7")
    made = change(engine, asked, caller=COUNTY, now=now)
    entry = audit.show(engine, f"range:{world.item}")[0]
    assert (entry.actor, entry.action, entry.at) == (COUNTY.name, "status.recall", now)
    assert entry.detail == {
        "change": made.id,
        "first": 1,
        "last": 2,
        "reason": "safety-recall",
        "state": "recalled",
        "lifts": None,
        "legal_basis": BASIS,
        "note": {"zh": "公开说明", "en": "public note"},
        "notice": "2026-7",
        "effective_at": "2026-11-21T04:00:00+00:00",
        "authority": {"zh": "余杭区市场监督管理局", "en": "Yuhang District Administration for Market Regulation"},
        "uscc": uscc(),
        "barred_until": None,
    }
    count = audit.verify(engine).chain.count
    refused(engine, COUNTY, now, ask(Scope.BATCH, world.item, Action.REVOKE))
    refused(engine, COUNTY, now, ask(Scope.BATCH, world.item, Action.RESTORE, "rectified"))
    assert audit.verify(engine).chain.count == count
    assert audit.verify(engine).whole


def test_a_decision_that_cannot_be_audited_is_not_made(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """One transaction: row, entry and card, or none of them."""
    with as_owner(engine) as connection:
        connection.execute(text("ALTER TABLE audit ADD CONSTRAINT full_up CHECK (action <> 'status.flag')"))
    before = in_database(engine)(f"b:{world.item}")
    with pytest.raises(DBAPIError):
        change(engine, ask(Scope.BATCH, world.item, Action.FLAG), caller=COUNTY, now=now)
    assert history(engine, Scope.BATCH, str(world.item), COUNTY) == []
    assert in_database(engine)(f"b:{world.item}") == before


def test_decisions_cannot_be_rewritten(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """The database refuses it for every role."""
    decided(engine, COUNTY, now, ask(Scope.BATCH, world.item, Action.FLAG))
    for statement in ("UPDATE status_change SET state = 'good'", "DELETE FROM status_change", "TRUNCATE status_change"):
        with pytest.raises(DBAPIError, match="append-only"), as_owner(engine) as connection:
            connection.execute(text(statement))


def test_withdrawing_a_recognition_bars_its_enterprise_for_three_years(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Counted in Hangzhou's calendar from the day it takes effect; an ordinary end bars no application."""
    assert world.item
    evening = datetime.fromisoformat("2026-12-31T20:00:00+00:00")  # already 2027 in Hangzhou
    asked = ask(Scope.RECOGNITION, "PZB-0001", Action.REVOKE, "recognition-cancelled", effective_at=evening)
    made = change(engine, asked, caller=PROVINCE, now=now)
    assert made.barred_until == date(2030, 1, 1)
    assert audit.show(engine, "recognition:PZB-0001")[0].detail["barred_until"] == "2030-01-01"
    ended = change(
        engine, ask(Scope.RECOGNITION, "PZB-0001", Action.REVOKE, "recognition-ended-early"), caller=PROVINCE, now=now
    )
    assert ended.barred_until is None


def test_an_enterprise_lifts_its_own_decision_and_never_a_regulators(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """The regulator's decision stays in force after any decision of the enterprise."""
    target, fetch = f"{world.item}:5", in_database(engine)
    restore = ask(Scope.CODE, target, Action.RESTORE, "entered-in-error")
    assert refused(engine, MAKER, now, restore) == ("nothing-to-restore",)
    decided(engine, COUNTY, now, ask(Scope.CODE, target, Action.SUSPEND))
    assert refused(engine, MAKER, now, restore) == ("higher-level",)
    decided(engine, MAKER, now, ask(Scope.CODE, target, Action.FLAG, "cloning-suspected"))
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.SUSPENDED
    assert change(engine, restore, caller=MAKER, now=now).lifts is Actor.ENTERPRISE
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.SUSPENDED
    assert refused(engine, MAKER, now, replace(restore, reason="rectified")) == ("higher-level",)
    assert change(engine, restore, caller=CITY, now=now).lifts is Actor.COUNTY
    assert item_verdict(fetch, world.item, 5, now).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(("lower", "higher"), [(COUNTY, CITY), (CITY, PROVINCE), (COUNTY, OPERATOR)])
def test_a_lower_level_never_restores_what_a_higher_one_decided(
    engine: Engine, now: datetime, world: EnterpriseBatches, lower: Caller, higher: Caller
) -> None:
    """At an item, a range, a lot, a batch and a product alike."""
    places: tuple[tuple[Scope, object, dict[str, Any]], ...] = (
        (Scope.CODE, f"{world.item}:5", {}),
        (Scope.RANGE, world.item, {"first": 0, "last": 9}),
        (Scope.LOT, f"{gtin()}:{LOT}", {}),
        (Scope.BATCH, world.item, {}),
        (Scope.PRODUCT, gtin(), {}),
    )
    for scope, target, bounds in places:
        decided(engine, higher, now, ask(scope, target, Action.SUSPEND, **bounds))
        restore = ask(scope, target, Action.RESTORE, "rectified", **bounds)
        assert refused(engine, lower, now, restore) == ("higher-level",)
        decided(engine, higher, now, restore)
        assert refused(engine, lower, now, replace(restore, reason="entered-in-error")) == ("nothing-to-restore",)


def test_a_restored_middle_leaves_both_ends(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """Ranges are cut where a later decision overlaps."""
    fetch = in_database(engine)
    decided(
        engine,
        CITY,
        now,
        ask(Scope.RANGE, world.item, Action.SUSPEND, "labels-stolen", first=10, last=19),
        ask(Scope.RANGE, world.item, Action.RESTORE, "investigation-closed", first=13, last=15),
        ask(Scope.RANGE, world.item, Action.REVOKE, "labels-stolen", first=18, last=25),
    )
    initials = "".join(item_verdict(fetch, world.item, index, now).verdict.value[0] for index in range(8, 28))
    assert initials == "vvsssvvvssrrrrrrrrvv"


def test_the_same_decision_again_is_recorded_once(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """A client that got no response may repeat the request; any change makes it another decision."""
    asked = ask(Scope.BATCH, world.item, Action.SUSPEND, "sample-test-failed")
    first = change(engine, asked, caller=CITY, now=now)
    again = change(engine, asked, caller=CITY, now=now + timedelta(hours=1))
    assert again == replace(first, repeated=True)
    assert len(history(engine, Scope.BATCH, str(world.item), CITY)) == 1
    assert not change(engine, replace(asked, notice="7"), caller=CITY, now=now).repeated
    assert not change(engine, asked, caller=COUNTY, now=now).repeated
    restore = ask(Scope.BATCH, world.item, Action.RESTORE, "rectified")
    assert not change(engine, restore, caller=CITY, now=now).repeated
    assert change(engine, restore, caller=CITY, now=now).repeated
    assert not change(engine, asked, caller=CITY, now=now).repeated
    later = replace(asked, notice="8", effective_at=now + timedelta(days=1))
    assert not change(engine, later, caller=CITY, now=now).repeated
    assert change(engine, later, caller=CITY, now=now).repeated
    assert not change(engine, replace(later, effective_at=now + timedelta(days=2)), caller=CITY, now=now).repeated


def together(*work: Callable[[], object]) -> None:
    """Start all at the same moment and wait for each."""
    gate = threading.Barrier(len(work))

    def run(one: Callable[[], object]) -> None:
        gate.wait()
        one()

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(run, one) for one in work]:
            done.result()


def test_decisions_about_one_batch_at_once_take_turns(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """Eight at a time about ranges, items and the batch itself: none is lost from its card."""
    asked = [
        ask(Scope.RANGE, world.item, Action.REVOKE, "labels-stolen", first=10 * n, last=10 * n + 3) for n in range(4)
    ]
    asked += [ask(Scope.CODE, f"{world.item}:{50 + n}", Action.SUSPEND) for n in range(3)]
    asked += [ask(Scope.BATCH, world.item, Action.FLAG)]
    together(*(lambda one=one: change(engine, one, caller=CITY, now=now) for one in asked))
    fetch = in_database(engine)
    for n in range(4):
        assert item_verdict(fetch, world.item, 10 * n, now).verdict is Verdict.REVOKED
        assert item_verdict(fetch, world.item, 10 * n + 4, now).verdict is Verdict.FLAGGED
    assert [item_verdict(fetch, world.item, 50 + n, now).verdict for n in range(3)] == [Verdict.SUSPENDED] * 3
    assert audit.verify(engine).whole


def test_one_decision_asked_for_eight_times_at_once_is_one(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Of eight different decisions about one record the card shows the last in the feed."""
    asked = ask(Scope.CODE, f"{world.item}:1", Action.REVOKE)
    together(*[lambda: change(engine, asked, caller=CITY, now=now)] * 8)
    assert len(history(engine, Scope.CODE, f"{world.item}:1", CITY)) == 1
    many = [ask(Scope.PRODUCT, gtin(), Action.SUSPEND, notice=str(n)) for n in range(8)]
    together(*(lambda one=one: change(engine, one, caller=CITY, now=now) for one in many))
    made = history(engine, Scope.PRODUCT, gtin(), CITY)
    assert len(made) == 8
    verdict = item_verdict(in_database(engine), world.compact, 0, now)
    assert verdict.standing is not None
    assert verdict.standing.notice == made[-1].notice


def test_decisions_and_imports_at_once_never_wait_for_each_other_in_a_ring(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Both take the audit log's lock before the card head's: neither ends in a deadlock."""

    def imports() -> None:
        for version in range(10):
            content = registry()
            content["products"][0]["model"] = f"V{version}"
            import_registry(engine, as_json(content), actor=OPERATOR.name, now=now)

    def decisions() -> None:
        decided(engine, CITY, now, *(ask(Scope.CODE, f"{world.item}:{n}", Action.FLAG) for n in range(40)))

    together(imports, decisions)
    assert audit.verify(engine).whole


def test_numbers_in_the_feed_follow_commits(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """A reader that has read number N has read all up to N: a number is assigned in the order of the commits."""
    with transaction(engine) as connection:
        log.lock(connection)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(change, engine, ask(Scope.BATCH, world.item, Action.FLAG), caller=COUNTY, now=now)
            while not connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar():
                connection.execute(text("SELECT pg_sleep(0.01)"))
            taken = connection.execute(text("SELECT last_value, is_called FROM status_change_id_seq")).one()
            assert not taken.is_called
            connection.rollback()
            assert waiting.result().id == 1


def test_the_feed_shows_each_caller_what_concerns_it(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """An enterprise reads its own, a regulator the region's, all read those about standards and keys; in order, page by page."""
    second = settle(engine, now, 2)
    decided(engine, MAKER, now, ask(Scope.CODE, f"{world.item}:1", Action.REVOKE, "scrapped"))
    decided(engine, NINGBO, now, ask(Scope.BATCH, second.item, Action.FLAG))
    decided(engine, PROVINCE, now, ask(Scope.STANDARD, "T/ZZB 0001-2023", Action.FLAG))
    decided(engine, CITY, now, ask(Scope.PRODUCT, gtin(), Action.RECALL, notice="杭市监 2026-1"))
    ids = {
        name: [entry.id for entry in feed(engine, 0, 50, caller)]
        for name, caller in (
            ("maker", MAKER),
            ("other", OTHER),
            ("county", COUNTY),
            ("ningbo", NINGBO),
            ("all", OPERATOR),
        )
    }
    assert ids == {"maker": [1, 3, 4], "other": [2, 3], "county": [1, 3, 4], "ningbo": [2, 3], "all": [1, 2, 3, 4]}
    assert [entry.id for entry in feed(engine, 1, 2, OPERATOR)] == [2, 3]
    assert len(feed(engine, 0, 10**9, PROVINCE)) == 4
    public = notices(engine, 0, 50)
    assert [(entry.id, entry.notice, entry.state) for entry in public] == [(4, "杭市监 2026-1", State.RECALLED)]


def test_an_enterprises_notice_is_not_a_public_notice(engine: Engine, now: datetime, world: EnterpriseBatches) -> None:
    """Only offices and the operator publish."""
    decided(engine, MAKER, now, ask(Scope.BATCH, world.item, Action.RECALL, "safety-recall", notice="self-made"))
    assert notices(engine, 0, 50) == []
