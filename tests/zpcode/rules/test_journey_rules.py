"""Which journey events may be recorded, and which a scan shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from zpcode.errors import Forbidden, Refused
from zpcode.rules import journey
from zpcode.rules.access import Caller, Role
from zpcode.rules.journey import BIZ_STEPS, KINDS, EventRequest, JourneyEvent, Subject
from zpcode.wire.card import MAX_JOURNEY
from zpcode.wire.vocabulary import Bilingual

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon in Hangzhou


def event(number: int, kind: str = "stored", at: int = 0, **changes: Any) -> JourneyEvent:
    """An event some hours after a beginning."""
    moment = datetime(2026, 10, 1, tzinfo=UTC) + timedelta(hours=at or number)
    base = JourneyEvent(
        number, Subject(7), "U", kind, moment, "minute", Bilingual(), Bilingual(), Bilingual(), "", None, "me", NOW
    )
    return replace(base, **changes)


def wrong(request: EventRequest) -> list[tuple[str, str]]:
    """Reason and place of everything that is wrong with a request."""
    findings = journey.examine([request], NOW, lambda number, field: f"{number}:{field}")
    return [(finding.reason, finding.where) for finding in findings.items]


@pytest.mark.parametrize(
    ("text", "at", "precision"),
    [
        ("2026-10-08", datetime(2026, 10, 7, 16, tzinfo=UTC), "day"),
        ("2026-10-08T14:30:59.9+08:00", datetime(2026, 10, 8, 6, 30, tzinfo=UTC), "minute"),
        ("2026-10-08 06:30Z", datetime(2026, 10, 8, 6, 30, tzinfo=UTC), "minute"),
    ],
)
def test_a_day_is_its_midnight_in_hangzhou_and_a_time_is_kept_to_the_minute(
    text: str, at: datetime, precision: str
) -> None:
    """In UTC, as everything is stored."""
    assert journey.moment(text) == (at, precision)


@pytest.mark.parametrize(
    "text", ["", "2026-10", "20261008", "2026-02-30", "2026-10-08T14:30", "1760000000", "2026-10-08T25:00Z", "0001-01-01T00:00+14:00", "２０２６-10-08"]
)  # fmt: skip
def test_anything_else_is_no_time(text: str) -> None:
    """A time without an offset is ambiguous."""
    assert journey.moment(text) is None


@pytest.mark.parametrize("at", ["2026-11-21", "2026-11-21T12:10+08:00", "2000-01-01"])
def test_today_and_ten_minutes_ahead_are_not_yet_the_future(at: str) -> None:
    """Clocks of plants differ a little."""
    assert wrong(EventRequest("produced", at)) == []


@pytest.mark.parametrize(
    ("at", "reason"),
    [("2026-11-22", "time-future"), ("2026-11-21T12:11+08:00", "time-future"), ("1999-12-31", "time-past"), ("soon", "time")],
)  # fmt: skip
def test_what_has_not_happened_is_refused(at: str, reason: str) -> None:
    """Also refused: events before the production of the goods."""
    assert wrong(EventRequest("produced", at)) == [(reason, "0:at")]


def test_everything_that_is_wrong_is_said_at_once_and_where() -> None:
    """Kind, time and every text."""
    request = EventRequest(
        "grown", "x", Bilingual("一" * 201), Bilingual("", "Lab"), Bilingual("\u202eabc"), document="N" * 101
    )
    assert wrong(request) == [
        ("kind", "0:kind"), ("time", "0:at"), ("too-long", "0:place/zh"), ("chinese", "0:by/zh"),
        ("characters", "0:note/zh"), ("too-long", "0:document"),
    ]  # fmt: skip


def test_a_regulator_reports_nothing_and_a_withdrawal_has_a_reason() -> None:
    """An event is the maker's word."""
    with pytest.raises(Forbidden):
        journey.may_record(Caller(Role.REGULATOR, "330000", "x"))
    with pytest.raises(Refused):
        journey.check_reason("  ")
    journey.may_record(Caller(Role.ENTERPRISE, "U", "x"))


def test_withdrawn_and_superseded_events_are_not_shown() -> None:
    """Withdrawing a correction does not bring back the corrected event."""
    first, second, third = event(1), event(2, supersedes=1), event(3)
    assert [one.id for one in journey.standing([third, first, second])] == [2, 3]
    gone = replace(second, withdrawn_at=NOW)
    assert [one.id for one in journey.standing([first, gone, third])] == [3]


def test_the_newest_thirty_are_shown_and_always_the_first_production() -> None:
    """In order of time, not of reporting."""
    many = [event(number) for number in range(2, 50)]
    made = [event(100, "produced", at=1), event(101, "produced", at=3)]
    shown = journey.shown_events([*many, *made])
    assert len(shown) == MAX_JOURNEY
    assert [one.at for one in shown] == sorted(one.at for one in shown)
    assert (shown[0].kind, shown[0].at) == ("produced", int(made[0].at.timestamp()))
    assert [one.at for one in shown[1:]] == [int(one.at.timestamp()) for one in many[-29:]]
    assert len(journey.shown_events(many)) == MAX_JOURNEY


def test_every_kind_stands_for_a_business_step() -> None:
    """GS1 Core Business Vocabulary 2.0."""
    assert KINDS.keys() == BIZ_STEPS.keys()
