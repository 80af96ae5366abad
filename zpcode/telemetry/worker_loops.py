"""Whether loops that run for ever still do: each says when it comes round, and how its turn went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from zpcode.telemetry.metrics import Family, Measure

TURNS: Final = Family(
    "zpcode_worker_turns_total", "Turns of each loop of the worker, by how they ended.", "counter", ("loop", "outcome")
)
LAST_TURN: Final = Family("zpcode_worker_since_turn_seconds", "Seconds since a loop last came round.", "gauge", ("loop",))  # fmt: skip
LAST_SUCCESS: Final = Family("zpcode_worker_since_success_seconds", "Seconds since a loop last did what it is for.", "gauge", ("loop",))  # fmt: skip
STOPPED: Final = Family("zpcode_worker_loop_stopped", "1 where a loop has not come round in time.", "gauge", ("loop",))
OUTCOMES: Final = ("done", "waits", "failed")
ALIVE_SECONDS: Final = 300.0
"""A turn may take so long beyond the loop's period: the longest fills an emptied Redis."""
READY_SECONDS: Final = 10.0
"""A loop may be without success for so long beyond its period before it counts as not ready."""


@dataclass(slots=True)
class WorkerLoop:
    """One loop, which comes round every `period` seconds. Times are of the clock it is given, in seconds."""

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
        """It came round: `done`, `waits` (a server does not answer) or `failed` (a defect)."""
        self.turns[outcome] += 1
        self.turned = self.clock()
        if outcome == "done":
            self.succeeded = self.turned

    @property
    def stopped(self) -> bool:
        """Whether it should have come round long ago."""
        return self.clock() - self.turned > self.period + ALIVE_SECONDS

    @property
    def ready(self) -> bool:
        """Whether it lately did what it is for."""
        return self.clock() - self.succeeded <= self.period + READY_SECONDS

    def measures(self) -> Iterator[Measure]:
        """What Prometheus hears of it."""
        now = self.clock()
        for outcome, number in self.turns.items():
            yield Measure(TURNS, number, (self.name, outcome))
        yield Measure(LAST_TURN, now - self.turned, (self.name,))
        yield Measure(LAST_SUCCESS, now - self.succeeded, (self.name,))
        yield Measure(STOPPED, int(self.stopped), (self.name,))


class WorkerLoops:
    """All loops of one process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._beats: dict[str, WorkerLoop] = {}

    def of(self, name: str, period: float) -> WorkerLoop:
        """The beat of one loop, from now on watched."""
        beat = self._beats[name] = WorkerLoop(name, period, self._clock)
        return beat

    def goes_on(self, name: str) -> None:
        """A long turn of this loop gets somewhere: as good as a turn of its own."""
        if name in self._beats:
            self._beats[name].turn("done")

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether every loop comes round, and which do not. A process without loops has not begun, or has ended."""
        stopped = [beat.name for beat in list(self._beats.values()) if beat.stopped]
        return bool(self._beats) and not stopped, {"stopped": stopped}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether every loop does what it is for, and which do not."""
        waiting = [beat.name for beat in list(self._beats.values()) if not beat.ready]
        return bool(self._beats) and not waiting, {"waiting": waiting}

    def measures(self) -> list[Measure]:
        """What Prometheus hears of them."""
        return [measure for beat in list(self._beats.values()) for measure in beat.measures()]
