"""What a run has counted: who was told what, how long it took, second by second.

Each process of Locust has a tally of its own and hands what is new to the master, which adds it up: `take` and
`add`. Times are kept in steps of 2 % at most, so any percentile can be told however many scans there were.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

_STEPS: Final = 58  # to a tenfold: one step is 4 %, so a time is kept to within 2 %


def step_of(milliseconds: float) -> int:
    """The step a time falls into; all below 0.1 ms share one."""
    return max(0, round(math.log10(max(milliseconds, 0.1) * 10) * _STEPS))


def time_of(step: int) -> float:
    """The time a step stands for, in ms."""
    return float(10 ** (step / _STEPS) / 10)


def percentile(steps: Counter[int], share: float) -> float | None:
    """The time that this share of all took at most, in ms; None of nothing."""
    left = math.ceil(share * sum(steps.values()))
    for step in sorted(steps):
        left -= steps[step]
        if left <= 0:
            return time_of(step)
    return None


@dataclass(slots=True)
class Tally:
    """`said` counts (who, what, said), `failed` and `times` go by (who, second of the Unix clock)."""

    said: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, int]] = field(default_factory=Counter)
    times: dict[tuple[str, int], Counter[int]] = field(default_factory=dict)

    def note(self, who: str, what: str, told: str, *, at: float, milliseconds: float, right: bool) -> None:
        """One answer: `at` is when it came, by the Unix clock."""
        second = int(at)
        self.said[who, what, told] += 1
        self.times.setdefault((who, second), Counter())[step_of(milliseconds)] += 1
        if not right:
            self.failed[who, second] += 1

    def take(self) -> list[Any]:
        """Everything counted, as plain lists to be sent; the tally is empty afterwards."""
        taken = [
            [[*key, count] for key, count in self.said.items()],
            [[*key, count] for key, count in self.failed.items()],
            [[*key, list(steps.items())] for key, steps in self.times.items()],
        ]
        self.said.clear()
        self.failed.clear()
        self.times.clear()
        return taken

    def add(self, taken: list[Any]) -> None:
        """Add what another tally has given away."""
        said, failed, times = taken
        for who, what, told, count in said:
            self.said[who, what, told] += count
        for who, second, count in failed:
            self.failed[who, second] += count
        for who, second, steps in times:
            self.times.setdefault((who, second), Counter()).update(dict(steps))

    # What it comes to -----------------------------------------------------------------------------------

    def count(self, who: str, what: str = "", told: str = "") -> int:
        """How many answers there were to somebody, of something, that said something; empty: anything."""
        return sum(
            count
            for (one, thing, words), count in self.said.items()
            if one == who and what in {"", thing} and told in {"", words}
        )

    def failures(self, who: str) -> int:
        """How often somebody was told wrong."""
        return sum(count for (one, _), count in self.failed.items() if one == who)

    def steps(self, who: str) -> Counter[int]:
        """All of somebody's times."""
        return sum((steps for (one, _), steps in self.times.items() if one == who), Counter())

    def seconds(self, who: str) -> list[tuple[int, Counter[int], int]]:
        """Second by second, from the first to the last: the Unix second, its times, and how many failed."""
        known = [second for one, second in self.times if one == who]
        if not known:
            return []
        return [
            (second, self.times.get((who, second), Counter()), self.failed[who, second])
            for second in range(min(known), max(known) + 1)
        ]
