"""How late the event loop runs: what blocks it blocks every scan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

PERIOD: Final = 0.5
WINDOW: Final = 15.0
STALLED: Final = 5.0


class LoopLag:
    """A timer on the event loop that comes every half second and measures how late it comes.

    It also watches another loop: `rounds` counts the rounds of that loop, and must grow within five seconds. `clock`
    gives monotonic seconds.
    """

    def __init__(self, rounds: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._rounds, self._clock = rounds, clock
        self._last_round = (-1, clock())
        self._window_began = clock()
        self._worst = self._worst_before = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the timer; it starts itself again until `stop`. Call it on the event loop."""
        due = self._clock() + PERIOD

        def come() -> None:
            self.measure(max(0.0, self._clock() - due))
            self.start()

        self._timer = asyncio.get_running_loop().call_later(PERIOD, come)

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def seconds(self) -> float:
        """The longest delay of this window of fifteen seconds and the window before."""
        return max(self._worst, self._worst_before)

    @property
    def rounds_grow(self) -> bool:
        """Whether the other loop has made a round in the last five seconds."""
        return self._clock() - self._last_round[1] < STALLED

    def measure(self, late: float) -> None:
        """Note that the timer came `late` seconds after its time, and how many rounds the other loop has made."""
        now = self._clock()
        if now - self._window_began >= WINDOW:
            self._worst_before, self._worst, self._window_began = self._worst, 0.0, now
        self._worst = max(self._worst, late)
        rounds = self._rounds()
        if rounds != self._last_round[0]:
            self._last_round = rounds, now
