"""What one scan process counts of itself: plain numbers, because a scan has no time for more.

Only the event loop's thread writes; whoever exposes them (`scanweb.metrics.metrics`) reads.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets, in seconds; what is slower falls into one more."""


class Times:
    """A histogram of seconds: `counts[i]` answers within `BOUNDS[i]` and above the bound before; the last, slower."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class ScanCounters:
    """Answers by verdict (the word of `zpcode.wire.verdict.Verdict`), times of all answers, and what went wrong."""

    __slots__ = ("answers", "errors", "refused", "seconds")

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.seconds = Times()
        self.errors = 0  # answers of status 500
        self.refused = 0  # answers of status 429

    def answered(self, verdict: str, seconds: float) -> None:
        """One answer went out, `seconds` after the request came in."""
        answers = self.answers
        answers[verdict] = answers.get(verdict, 0) + 1
        self.seconds.observe(seconds)
