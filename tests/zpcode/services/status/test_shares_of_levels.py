"""An enterprise that uses up everything it may keeps no office from deciding: range notes, schedules, notices, events."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count

import msgspec
import pytest
from sqlalchemy import Engine

from tests.support.registry_data import gtin, uscc
from tests.support.status_setting import (
    BASIS,
    CITY,
    COUNTY,
    MAKER,
    OPERATOR,
    PROVINCE,
    EnterpriseBatches,
    ask,
    in_database,
    item_verdict,
)
from zpcode.errors import Conflict
from zpcode.rules.access import Caller
from zpcode.rules.journey import MAX_EVENTS, EventRequest, Subject
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import MAX_TEXT
from zpcode.rules.status.shares import MAX_PENDING
from zpcode.services.journey import events
from zpcode.services.status.change import change
from zpcode.wire.card import MAX_NOTICES, BatchCard, NoticesCard, batch_key, notices_key
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Bilingual, Scope


def note(number: int) -> Bilingual:
    """A note of full length, different for each number."""
    return Bilingual(f"{number:04}" + "长" * (MAX_TEXT - 4), f"{number:04}" + "x" * (MAX_TEXT - 4))


def use_up_notes(engine: Engine, caller: Caller, batch: int, now: datetime) -> tuple[int, str]:
    """Decide about ranges with long notes until it is refused: how many were accepted, and the refusal's reason."""
    for number in count():
        asked = ask(Scope.RANGE, batch, Action.FLAG, "cloning-suspected", first=number, last=number, note=note(number))
        try:
            change(engine, asked, caller=caller, now=now)
        except Conflict as conflict:
            return number, conflict.findings[0].reason
    raise AssertionError


def test_long_notes_of_lower_levels_never_keep_a_higher_one_from_deciding(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """Enterprise, county and city use up their shares; each refusal says whose share it is; the province recalls."""
    for caller, word in ((MAKER, "企业"), (COUNTY, "县级监管部门"), (CITY, "市级监管部门")):
        accepted, reason = use_up_notes(engine, caller, world.item, now)
        assert (accepted > 10, reason) == (True, "card-too-large")
        one_more = ask(Scope.RANGE, world.item, Action.FLAG, "cloning-suspected", first=98, last=98, note=note(98))
        with pytest.raises(Conflict, match=word):
            change(engine, one_more, caller=caller, now=now)
    recall = ask(Scope.RANGE, world.item, Action.RECALL, "safety-recall", first=0, last=99, note=note(99), notice="1")
    for caller in (PROVINCE, OPERATOR):
        change(engine, recall, caller=caller, now=now)
    verdict = item_verdict(in_database(engine), world.item, 5, now)
    assert (verdict.verdict, verdict.scope) == (Verdict.RECALLED, Scope.RANGE)
    assert verdict.standing is not None
    assert verdict.standing.decided_by.zh == "浙江省市场监督管理局"
    body = in_database(engine)(batch_key(world.item))
    assert body is not None
    assert len(body) < 256 * 1024
    assert [layer.actor for layer in msgspec.msgpack.decode(body, type=BatchCard).ranges] == [
        "enterprise", "county", "city", "operator", "province",
    ]  # fmt: skip


@pytest.mark.parametrize("scope", [Scope.RANGE, Scope.BATCH])
def test_what_an_enterprise_schedules_never_keeps_the_province_from_scheduling(
    engine: Engine, now: datetime, world: EnterpriseBatches, scope: Scope
) -> None:
    """About the batch and about its ranges; the enterprise itself is refused."""
    bounds = {"first": 0, "last": 99} if scope is Scope.RANGE else {}
    for number in range(MAX_PENDING + 1):
        at = now + timedelta(days=1, seconds=number)
        asked = ask(scope, world.item, Action.FLAG, "cloning-suspected", effective_at=at, **bounds)
        if number < MAX_PENDING:
            change(engine, asked, caller=MAKER, now=now)
    with pytest.raises(Conflict, match="企业"):
        change(engine, asked, caller=MAKER, now=now)
    at = now + timedelta(hours=1)
    recall = ask(scope, world.item, Action.RECALL, "safety-recall", effective_at=at, **bounds)
    for caller in (COUNTY, CITY, PROVINCE, OPERATOR):
        change(engine, recall, caller=caller, now=now)
    later = item_verdict(in_database(engine), world.item, 5, at)
    assert (later.verdict, later.scope) == (Verdict.RECALLED, scope)


def test_notices_of_counties_do_not_displace_those_of_the_province(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """The card has the province's last notice after any number of a county's; unused places are for the newest."""
    assert world.item
    change(engine, ask(Scope.ENTERPRISE, uscc(), Action.FLAG, notice="省-1"), caller=PROVINCE, now=now)
    change(engine, ask(Scope.ENTERPRISE, uscc(), Action.FLAG, notice="市-1"), caller=CITY, now=now)
    for number in range(MAX_NOTICES + 5):
        action = Action.FLAG if number % 2 else Action.SUSPEND
        change(engine, ask(Scope.PRODUCT, gtin(), action, notice=f"县-{number}"), caller=COUNTY, now=now)
    body = in_database(engine)(notices_key())
    assert body is not None
    numbers = [one.number for one in msgspec.msgpack.decode(body, type=NoticesCard).notices]
    counties = [f"县-{number}" for number in reversed(range(7, MAX_NOTICES + 5))]
    assert numbers == [*counties, "市-1", "省-1"]


def test_events_of_an_enterprise_keep_no_event_of_the_operator_away(
    engine: Engine, now: datetime, world: EnterpriseBatches
) -> None:
    """The enterprise's 501st is refused, the operator's first is not, and the card shows it."""
    assert BASIS
    subject = Subject(world.item)
    mine = [EventRequest("stored", "2026-11-20", document=str(number)) for number in range(MAX_EVENTS + 1)]
    events.record(engine, subject, mine[:-1], caller=MAKER, now=now)
    with pytest.raises(Conflict, match="企业"):
        events.record(engine, subject, mine[-1:], caller=MAKER, now=now)
    earlier = EventRequest("inspected", "2026-11-01", document="operator")
    events.record(engine, subject, [earlier], caller=OPERATOR, now=now)
    body = in_database(engine)(batch_key(world.item))
    assert body is not None
    shown = msgspec.msgpack.decode(body, type=BatchCard).journey
    assert (len(shown), shown[0].document) == (30, "operator")
