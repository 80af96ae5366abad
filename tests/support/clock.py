"""A clock for tests of what goes by the time."""

from __future__ import annotations


class Clock:
    """Seconds that pass only when they are told to."""

    seconds = 1000.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.seconds
