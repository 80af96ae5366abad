"""What one scan process counts: plain numbers, because counting must cost a scan almost nothing.

Only the thread of the event loop writes them. `scanweb.metrics.collector` exposes them.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets, in seconds. One more bucket has the slower answers."""


class AnswerTimes:
    """A histogram in seconds: `counts[i]` answers took at most `BOUNDS[i]` and more than the bound before."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one answer."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class ScanCounters:
    """Answers by verdict (the word of `zpcode.wire.verdict.Verdict`), times of all answers, errors, refusals and scans not recorded."""

    __slots__ = ("answers", "errors", "refused", "seconds", "unrecorded")

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.seconds = AnswerTimes()
        self.errors = 0  # answers of status 500
        self.refused = 0  # answers of status 429
        self.unrecorded = 0  # scans of networks that have used up the day's limit of recorded scans

    def answered(self, verdict: str, seconds: float) -> None:
        """Count an answer that was sent `seconds` after its request came in."""
        answers = self.answers
        answers[verdict] = answers.get(verdict, 0) + 1
        self.seconds.observe(seconds)
