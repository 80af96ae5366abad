"""The time that tests use as now, and a monotonic clock that tests set."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

NOW: Final = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
"""Saturday noon in Hangzhou."""


class Clock:
    """A monotonic clock that changes only when a test sets it."""

    seconds = 1000.0

    def __call__(self) -> float:
        """The current seconds."""
        return self.seconds
