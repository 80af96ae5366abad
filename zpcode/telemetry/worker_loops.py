"""Whether the loops of the worker still run: each loop reports the end of every turn, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from zpcode.telemetry import metrics

OUTCOMES: Final = ("done", "waits", "failed")
ALIVE_SECONDS: Final = 300.0
"""A turn may take this long beyond the period of its loop: the longest turn fills an empty Redis."""
READY_SECONDS: Final = 10.0
"""A loop that has had no success for this long beyond its period is not ready."""


@dataclass(slots=True)
class WorkerLoop:
    """One loop, which starts a turn every `period` seconds. `clock` gives monotonic seconds."""

    name: str
    period: float
    clock: Callable[[], float]
    turned: float = field(init=False)
    succeeded: float = field(init=False)
    turns: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.turned = self.succeeded = self.clock()
        self.turns = dict.fromkeys(OUTCOMES, 0)

    def turn(self, outcome: str) -> None:
        """Report the end of a turn: `done`, `waits` (a server does not answer) or `failed` (a defect)."""
        self.turns[outcome] += 1
        self.turned = self.clock()
        if outcome == "done":
            self.succeeded = self.turned

    @property
    def stopped(self) -> bool:
        """Whether the last turn ended too long ago."""
        return self.clock() - self.turned > self.period + ALIVE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether the last successful turn is recent."""
        return self.clock() - self.succeeded <= self.period + READY_SECONDS


class WorkerLoops(Collector):
    """All loops of one process: their health, and their metrics."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._loops: dict[str, WorkerLoop] = {}

    def add(self, name: str, period: float) -> WorkerLoop:
        """Watch one more loop, which starts a turn every `period` seconds."""
        loop = self._loops[name] = WorkerLoop(name, period, self._clock)
        return loop

    def progress(self, name: str) -> None:
        """Report that a long turn of this loop makes progress. It counts as a successful turn."""
        if name in self._loops:
            self._loops[name].turn("done")

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether every loop runs, and which have stopped. A process without loops is not alive."""
        stopped = [loop.name for loop in self._all() if loop.stopped]
        return bool(self._loops) and not stopped, {"stopped": stopped}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether every loop succeeds, and which do not. A process without loops is not ready."""
        waiting = [loop.name for loop in self._all() if not loop.ready]
        return bool(self._loops) and not waiting, {"waiting": waiting}

    def collect(self) -> Iterator[Metric]:
        """The metrics of the loops, as they are now."""
        loops, now = self._all(), self._clock()
        yield self._turns(loops)
        yield metrics.gauges(
            "zpcode_worker_since_turn_seconds",
            "Seconds since the last turn of a loop ended.",
            "loop",
            {loop.name: now - loop.turned for loop in loops},
        )
        yield metrics.gauges(
            "zpcode_worker_since_success_seconds",
            "Seconds since the last successful turn of a loop ended.",
            "loop",
            {loop.name: now - loop.succeeded for loop in loops},
        )
        yield metrics.gauges(
            "zpcode_worker_loop_stopped",
            "1 if the last turn of a loop ended too long ago.",
            "loop",
            {loop.name: int(loop.stopped) for loop in loops},
        )

    @staticmethod
    def _turns(loops: list[WorkerLoop]) -> CounterMetricFamily:
        name, meaning = (
            "zpcode_worker_turns_total",
            "Turns of each loop, by outcome: done, waits (a server does not answer), failed (a defect).",
        )
        family = CounterMetricFamily(name, meaning, labels=("loop", "outcome"))
        for loop in loops:
            for outcome, number in loop.turns.items():
                family.add_metric((loop.name, outcome), number)
        return family

    def _all(self) -> list[WorkerLoop]:
        """A copy: a loop may be added in another thread."""
        return list(self._loops.values())
