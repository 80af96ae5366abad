"""The journey from a report to the card that a scan reads: recorded, superseded, withdrawn, projected, rebuilt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from tests.support.databases import as_owner
from tests.support.patience import eventually
from tests.support.registry_data import gtin
from tests.support.status_setting import (
    COUNTY,
    LOT,
    MAKER,
    OPERATOR,
    OTHER,
    EnterpriseBatches,
    ask,
    in_database,
    in_redis,
    issue,
    reserved,
)
from zpcode.errors import Conflict, Forbidden, ImportRefused, NotFound, Refused
from zpcode.projection import projector
from zpcode.rules import journey as rules
from zpcode.rules.access import Caller
from zpcode.rules.journey import EventRequest, Subject
from zpcode.rules.status.decisions import Action
from zpcode.services.batches import reserve
from zpcode.services.journey import events
from zpcode.services.journey.csv_import import import_events
from zpcode.services.status import change
from zpcode.store import audit
from zpcode.store.database.session import transaction
from zpcode.wire.card import BatchCard, LotCard, TraceEvent, batch_key, lot_key
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Bilingual, Scope

GOODS = Subject(gtin=gtin(1), lot=LOT)
PRODUCED = EventRequest("produced", "2026-10-08", Bilingual("杭州", "Hangzhou"), Bilingual("一车间", "Plant 1"))
INSPECTED = EventRequest("inspected", "2026-10-09T10:00+08:00", document="QC-1")
SHIPPED = EventRequest("shipped", "2026-10-10", Bilingual("发往上海", "To Shanghai"))


def on_card(engine: Engine, key: str) -> tuple[TraceEvent, ...]:
    """The journey on a card in the database."""
    body = in_database(engine)(key)
    assert body is not None
    if key.startswith("b:"):
        return msgspec.msgpack.decode(body, type=BatchCard).journey
    return msgspec.msgpack.decode(body, type=LotCard).journey


def kinds(engine: Engine, key: str) -> list[str]:
    """The kinds of the events on a card."""
    return [event.kind for event in on_card(engine, key)]


def report(
    engine: Engine, subject: Subject, *requests: EventRequest, now: datetime, caller: Caller = MAKER
) -> list[int]:
    """Record events and return their numbers."""
    recorded = events.record(engine, subject, requests, caller=caller, now=now)
    return [event.id for event in recorded.events]


def test_a_batchs_card_has_its_own_events_and_its_lots_in_order_of_time(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """Every batch of the lot and the lot's card have the event; no other batch has it."""
    report(engine, Subject(world.item), INSPECTED, now=now)
    report(engine, GOODS, SHIPPED, PRODUCED, now=now)
    assert kinds(engine, batch_key(world.item)) == ["produced", "inspected", "shipped"]
    assert kinds(engine, batch_key(world.compact)) == kinds(engine, lot_key(gtin(1), LOT)) == ["produced", "shipped"]
    assert kinds(engine, batch_key(world.product)) == []
    first = on_card(engine, lot_key(gtin(1), LOT))[0]
    assert (first.precision, first.place, first.by) == ("day", PRODUCED.place, PRODUCED.by)


def test_a_batch_that_is_reserved_later_shows_its_lots_events_too(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """It keeps them when it is issued, activated, and when decisions are made."""
    report(engine, GOODS, PRODUCED, now=now)
    for level in (Level.ITEM, Level.LOT):
        later = reserved(engine, level, 1, MAKER, now, "later")
        assert kinds(engine, batch_key(later.number)) == ["produced"]
        issue(engine, later, now)
        assert kinds(engine, batch_key(later.number)) == ["produced"]
    assert kinds(engine, lot_key(gtin(1), LOT)) == ["produced"]
    change.change(engine, ask(Scope.BATCH, world.item, Action.FLAG), caller=OPERATOR, now=now)
    assert kinds(engine, batch_key(world.item)) == ["produced"]


def test_a_batch_reserved_while_its_lots_events_are_reported_misses_none(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """A report cannot see a batch that is not committed yet: therefore both take the same lock."""
    with ThreadPoolExecutor(2) as pool:
        with transaction(engine) as connection:
            audit.lock(connection)  # both get as far as they can
            later = pool.submit(reserved, engine, Level.ITEM, 1, MAKER, now, "later")
            eventually(lambda: waiting(engine) == 1)
            reported = pool.submit(report, engine, GOODS, PRODUCED, now=now)
            eventually(lambda: waiting(engine) == 2)
        number = later.result().number
        assert reported.result()
    assert kinds(engine, batch_key(number)) == kinds(engine, batch_key(world.item)) == ["produced"]


def waiting(engine: Engine) -> int:
    """The number of sessions that wait for a lock in this database."""
    query = (
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database()"
    )
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_the_same_event_again_is_not_recorded_again(engine: Engine, world: EnterpriseBatches, now: datetime) -> None:
    """A report whose response was lost may be sent again, also in part."""
    first = report(engine, Subject(world.item), PRODUCED, INSPECTED, now=now)
    again = events.record(engine, Subject(world.item), [INSPECTED, SHIPPED, SHIPPED], caller=MAKER, now=now)
    assert again.events[0].id == first[1]
    assert again.events[1] == again.events[2]
    assert len(again.new) == 1
    assert len(events.events(engine, Subject(world.item), MAKER)) == 3


def test_an_event_is_corrected_by_one_that_takes_its_place(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """Once; the first stays on record."""
    subject = Subject(world.item)
    (wrong,) = report(engine, subject, INSPECTED, now=now)
    right = EventRequest("inspected", "2026-10-09", document="QC-2", supersedes=wrong)
    (number,) = report(engine, subject, right, now=now)
    assert [event.document for event in on_card(engine, batch_key(world.item))] == ["QC-2"]
    assert report(engine, subject, right, now=now) == [number], "asked for again it is the same"
    for again in (
        EventRequest("other", "2026-10-09", supersedes=wrong),
        EventRequest("other", "2026-10-09", supersedes=999),
    ):
        with pytest.raises(Refused) as refused:
            report(engine, subject, PRODUCED, again, now=now)
        assert [finding.where for finding in refused.value.findings] == ["/events/1/supersedes"]
    with pytest.raises(Refused):
        report(engine, GOODS, EventRequest("other", "2026-10-09", supersedes=number), now=now)
    assert [event.id for event in events.events(engine, subject, MAKER)] == [wrong, number]


def test_a_withdrawn_event_vanishes_from_every_card_and_stays_on_record(
    engine: Engine, redis: Redis, world: EnterpriseBatches, now: datetime
) -> None:
    """The list shows its reason; the same event reported again is new."""
    (number,) = report(engine, GOODS, INSPECTED, now=now)
    projector.catch_up(engine, redis)
    for _ in range(2):
        gone = events.withdraw(engine, GOODS, number, "另一批次", caller=MAKER, now=now)
        assert (gone.withdrawal, gone.withdrawn_by) == ("另一批次", MAKER.name)
    projector.catch_up(engine, redis)
    for key in (batch_key(world.item), batch_key(world.compact), lot_key(gtin(1), LOT)):
        assert kinds(engine, key) == []
        assert in_redis(redis)(key) == in_database(engine)(key)
    assert report(engine, GOODS, INSPECTED, now=now) != [number]
    with transaction(engine) as connection:
        said = connection.execute(
            text("SELECT action, count(*) AS times FROM audit WHERE object = :name GROUP BY 1"), {"name": GOODS.name}
        )
        assert {row.action: row.times for row in said} == {"journey.record": 2, "journey.withdraw": 1}


def test_an_emptied_redis_is_filled_with_the_same_bytes(
    engine: Engine, redis: Redis, world: EnterpriseBatches, now: datetime
) -> None:
    """Journeys are in the cards, and all cards are in the table."""
    report(engine, GOODS, PRODUCED, INSPECTED, now=now)
    projector.catch_up(engine, redis)
    keys = [batch_key(world.item), lot_key(gtin(1), LOT)]
    before = [in_redis(redis)(key) for key in keys]
    redis.flushall()
    projector.catch_up(engine, redis)
    assert [in_redis(redis)(key) for key in keys] == before == [in_database(engine)(key) for key in keys]


def test_nobody_reports_about_anothers_goods_and_a_regulator_about_none(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """Another enterprise gets 404; a regulator of the region may read."""
    report(engine, GOODS, PRODUCED, now=now)
    for subject in (GOODS, Subject(world.item), Subject(gtin=gtin(1), lot="L-2"), Subject(4711)):
        with pytest.raises(NotFound):
            report(engine, subject, PRODUCED, now=now, caller=OTHER)
        with pytest.raises(NotFound):
            events.events(engine, subject, OTHER)
        with pytest.raises(NotFound):
            events.withdraw(engine, subject, 1, "mine", caller=OTHER, now=now)
    with pytest.raises(NotFound):
        events.withdraw(engine, Subject(world.item), 1, "of the lot", caller=MAKER, now=now)
    with pytest.raises(Forbidden):
        report(engine, GOODS, PRODUCED, now=now, caller=COUNTY)
    assert [event.kind for event in events.events(engine, GOODS, COUNTY)] == ["produced"]


def test_what_is_wrong_is_said_of_all_and_nothing_is_written(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """All or none."""
    with pytest.raises(Refused) as refused:
        report(engine, Subject(world.item), PRODUCED, EventRequest("grown", "2027-01-01"), now=now)
    assert [finding.where for finding in refused.value.findings] == ["/events/1/kind", "/events/1/at"]
    assert events.events(engine, Subject(world.item), MAKER) == []


def test_a_batch_takes_no_more_than_it_can_show_in_reason(
    engine: Engine, world: EnterpriseBatches, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound counts withdrawn events too, so that nobody can fill the table."""
    monkeypatch.setattr(rules, "MAX_EVENTS", 2)
    report(engine, GOODS, PRODUCED, INSPECTED, now=now)
    with pytest.raises(Conflict):
        report(engine, GOODS, SHIPPED, now=now)
    assert kinds(engine, batch_key(world.item)) == ["produced", "inspected"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trace_event SET kind = 'other'",
        "UPDATE trace_event SET withdrawn_at = now(), withdrawal = 'x', document = 'QC-9'",
        "DELETE FROM trace_event",
        "TRUNCATE trace_event",
    ],
)
def test_the_database_itself_keeps_events_as_they_were(
    engine: Engine, world: EnterpriseBatches, now: datetime, statement: str
) -> None:
    """Only a withdrawal, and that once."""
    report(engine, GOODS, INSPECTED, now=now)
    with pytest.raises(DBAPIError, match=r"append-only|withdrawn once"), as_owner(engine) as connection:
        connection.execute(text(statement))
    withdrawn = text("UPDATE trace_event SET withdrawn_at = now(), withdrawal = 'x'")
    with engine.begin() as connection:
        connection.execute(withdrawn)
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(withdrawn)
    assert world.item


# The file of events ---------------------------------------------------------------------------------------


def csv(*rows: str) -> bytes:
    """A file as Excel saves it, with these rows."""
    header = "gtin,lot,batch,kind,at,place_zh,place_en,by_zh,by_en,note_zh,note_en,document"
    return "\ufeff".encode() + "\r\n".join([header, *rows, ""]).encode()


def brought_in(engine: Engine, data: bytes, now: datetime, **changes: Any) -> events.RecordedEvents:
    """What an import did."""
    return import_events(engine, data, caller=OPERATOR, now=now, **changes)


def test_a_file_of_events_is_brought_in_as_people_and_spreadsheets_write_it(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """Chinese kinds, dates with slashes, full-width digits, a GTIN-13; a second import records nothing new."""
    data = csv(
        f"{gtin(1)},{LOT.lower()},,生产,2026/10/8,杭州,Hangzhou,,,,,",
        "",
        f',,{world.item},inspected,２０２６-10-09 9:30,,,"实验室,二组",,,,QC-1',
        f",,{world.item},shipped,2026-10-10T08:00:00Z,,,,,,,",
    )  # fmt: skip
    assert len(brought_in(engine, data, now, dry_run=True).new) == 3
    assert on_card(engine, batch_key(world.item)) == ()
    assert len(brought_in(engine, data, now).new) == 3
    events_on_card = on_card(engine, batch_key(world.item))
    assert [(event.kind, event.precision, event.by.zh) for event in events_on_card] == [
        ("produced", "day", ""), ("inspected", "minute", "实验室,二组"), ("shipped", "minute", ""),
    ]  # fmt: skip
    assert not brought_in(engine, data, now).new


def test_a_cell_with_a_long_run_of_combining_marks_is_refused_with_its_place(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """It is refused before it is normalised, which would take the processor for seconds."""
    marks = "a" + "".join(mark * 15_000 for mark in "\u0345\u035d\u0315\u0300")
    with pytest.raises(ImportRefused) as refused:
        brought_in(engine, csv(f",,{world.item},{marks},2026-10-08,,,,,,,"), now)
    assert ("marks", "第 2 行 row 2, kind") in {(one.reason, one.where) for one in refused.value.findings}


def test_a_wrong_file_is_refused_with_every_row_and_field(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """Nothing of the file is written, not even its valid rows."""
    data = csv(
        f"{gtin(1)},{LOT},,produced,2026-10-08,,,,,,,",
        f"{gtin(1)},{LOT},{world.item},grown,2026-10-08,,,,,,,",
        ",,0,produced,2026-13-08,,,,,,,",
        "123,L 1,,produced,2026-10-08,,Lab,,,,,,more",
        ",,4711,produced,2027-01-01,,,,,,,",
    )
    with pytest.raises(ImportRefused) as refused:
        brought_in(engine, data, now)
    assert {(finding.reason, finding.where.partition("row ")[2]) for finding in refused.value.findings} == {
        ("subject", "3, batch"), ("kind", "3, kind"), ("batch", "4, batch"), ("time", "4, at"), ("cells", "5, *"),
        ("gtin", "5, gtin"), ("lot", "5, lot"), ("chinese", "5, place_zh"), ("subject", "6, batch"),
        ("time-future", "6, at"),
    }  # fmt: skip
    assert on_card(engine, batch_key(world.item)) == ()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "header"),
        (b"kind,at\n", "header"),
        (b"batch,kind,at,colour\n", "header"),
        ("batch,kind,at\n1,生产,2026-10-08\n".encode("gb18030"), "encoding"),
        (b'batch,kind,at\n1,"a"b,c\n', "csv"),
        (b"batch,kind,at\n", "empty"),
        (b"batch,kind,at\n" + b"1,produced,2026-10-08\n" * 2001, "rows"),
        (b"x" * (4 * 1024 * 1024 + 1), "too-large"),
    ],
)
def test_what_is_no_file_of_events_is_refused(engine: Engine, now: datetime, data: bytes, reason: str) -> None:
    """Before anything in it is looked at."""
    with pytest.raises(ImportRefused) as refused:
        brought_in(engine, data, now)
    assert [finding.reason for finding in refused.value.findings] == [reason]
    assert reserve.listing(engine, OPERATOR) == []


def test_what_a_withdrawn_correction_replaced_may_be_reported_again(
    engine: Engine, world: EnterpriseBatches, now: datetime
) -> None:
    """And is then shown; while the correction counts, the old report sent once more changes nothing."""
    subject, key = Subject(world.item), batch_key(world.item)
    (first,) = report(engine, subject, PRODUCED, now=now)
    (second,) = report(engine, subject, replace(PRODUCED, at="2026-10-09", supersedes=first), now=now)
    assert report(engine, subject, PRODUCED, now=now) == [first]
    events.withdraw(engine, subject, second, "not so", caller=MAKER, now=now)
    assert kinds(engine, key) == []
    again = report(engine, subject, PRODUCED, now=now)
    assert again not in ([first], [second])
    assert kinds(engine, key) == ["produced"]
    assert report(engine, subject, PRODUCED, now=now) == again
