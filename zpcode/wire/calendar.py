"""The calendar that authority and scan service share: Shanghai's offset, dates as ISO 8601, times as seconds since 1970."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Final

SHANGHAI: Final = timezone(timedelta(hours=8), "Asia/Shanghai")  # no summer time since 1991
SHANGHAI_SECONDS: Final = int(SHANGHAI.utcoffset(None).total_seconds())
"""How far Shanghai's clocks are ahead of UTC, in seconds."""
SHANGHAI_SUFFIX: Final = datetime(2000, 1, 1, tzinfo=SHANGHAI).isoformat()[-6:]
"""The offset as it ends an RFC 3339 time in Shanghai."""


def iso(day: date | None) -> str:
    """The date in a card's format: ISO 8601; empty for None."""
    return "" if day is None else day.isoformat()


def seconds(moment: datetime | None) -> int:
    """The time in a card's format: whole seconds since 1970; 0 for None."""
    return 0 if moment is None else int(moment.timestamp())


def today(now: datetime) -> date:
    """The calendar date in Shanghai at an aware time."""
    return now.astimezone(SHANGHAI).date()


def date_at(at: float) -> str:
    """The calendar date in Shanghai, ISO 8601, at a time in seconds since 1970."""
    return today(datetime.fromtimestamp(at, UTC)).isoformat()
