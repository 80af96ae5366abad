"""The calendar that authority and scan service share: Shanghai's offset, dates as ISO 8601, times as seconds since 1970."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Final

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")  # no summer time since 1991


def iso(day: date | None) -> str:
    """A date as a card has it: ISO 8601, empty for none."""
    return "" if day is None else day.isoformat()


def seconds(moment: datetime | None) -> int:
    """A time as a card has it: whole seconds since 1970, 0 for none."""
    return 0 if moment is None else int(moment.timestamp())


def today(now: datetime) -> date:
    """The calendar date in Hangzhou at an aware time."""
    return now.astimezone(SHANGHAI).date()
