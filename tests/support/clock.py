"""The moment that tests take for now, and a clock for tests of what goes by the time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

NOW: Final = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
"""Saturday noon in Hangzhou."""


class Clock:
    """Seconds that pass only when a test sets them."""

    seconds = 1000.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.seconds
