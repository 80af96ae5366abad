"""Counts the answers of a run, with their times, second by second.

Each Locust process has a tally and sends what is new (`take`) to the master, which adds it up (`add`). Times are rounded
to 2 %, so the memory for percentiles does not grow with the number of scans.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

_STEPS: Final = 58  # in a factor of ten: one step is 4 %, so a time is exact to 2 %


def step_of(milliseconds: float) -> int:
    """The step of a time; all times below 0.1 ms share one."""
    return max(0, round(math.log10(max(milliseconds, 0.1) * 10) * _STEPS))


def time_of(step: int) -> float:
    """The time of a step, in ms."""
    return float(10 ** (step / _STEPS) / 10)


def percentile(steps: Counter[int], share: float) -> float | None:
    """A percentile in ms, `share` between 0 and 1; None without times."""
    left = math.ceil(share * sum(steps.values()))
    for step in sorted(steps):
        left -= steps[step]
        if left <= 0:
            return time_of(step)
    return None


@dataclass(slots=True)
class Tally:
    """`answers` counts by (role, kind of scan, answer); `failed` and `times` by (role, Unix second)."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    failed: Counter[tuple[str, int]] = field(default_factory=Counter)
    times: dict[tuple[str, int], Counter[int]] = field(default_factory=dict)

    def record(self, role: str, kind: str, answer: str, *, at: float, milliseconds: float, right: bool) -> None:
        """Count one answer that arrived `at` (Unix seconds)."""
        second = int(at)
        self.answers[role, kind, answer] += 1
        self.times.setdefault((role, second), Counter())[step_of(milliseconds)] += 1
        if not right:
            self.failed[role, second] += 1

    def take(self) -> list[Any]:
        """All counts as plain lists, to be sent; the tally is empty afterwards."""
        taken = [
            [[*key, count] for key, count in self.answers.items()],
            [[*key, count] for key, count in self.failed.items()],
            [[*key, list(steps.items())] for key, steps in self.times.items()],
        ]
        self.answers.clear()
        self.failed.clear()
        self.times.clear()
        return taken

    def add(self, taken: list[Any]) -> None:
        """Add what another tally's `take` returned."""
        answers, failed, times = taken
        for role, kind, answer, count in answers:
            self.answers[role, kind, answer] += count
        for role, second, count in failed:
            self.failed[role, second] += count
        for role, second, steps in times:
            self.times.setdefault((role, second), Counter()).update(dict(steps))

    # Sums -----------------------------------------------------------------------------------------------

    def count(self, role: str, kind: str = "", answer: str = "") -> int:
        """How many answers a role got, to one kind of scan and with one content; empty for any."""
        return sum(
            count
            for (key_role, key_kind, key_answer), count in self.answers.items()
            if key_role == role and kind in {"", key_kind} and answer in {"", key_answer}
        )

    def failures(self, role: str) -> int:
        """How many wrong answers a role got."""
        return sum(count for (key_role, _), count in self.failed.items() if key_role == role)

    def steps(self, role: str) -> Counter[int]:
        """All times of a role."""
        return sum((steps for (key_role, _), steps in self.times.items() if key_role == role), Counter())

    def seconds(self, role: str) -> list[tuple[int, Counter[int], int]]:
        """For each second from the first to the last: the Unix second, its times, and the number of wrong answers."""
        active = [second for key_role, second in self.times if key_role == role]
        if not active:
            return []
        return [
            (second, self.times.get((role, second), Counter()), self.failed[role, second])
            for second in range(min(active), max(active) + 1)
        ]
