"""How far one counter runs behind another, in steps and in seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

_MEMORY: Final = 4096


class Lag:
    """A follower behind its leader. `clock` gives seconds; numbers are told as they are seen, in any order.

    The seconds are those since the oldest number of the leader that the follower has not reached was first seen: as
    exact as the leader is looked at often.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: deque[tuple[int, float]] = deque(maxlen=_MEMORY)
        self._followed = -1

    def leads(self, number: int) -> None:
        """The leader has come so far."""
        if not self._seen or number > self._seen[-1][0]:
            self._seen.append((number, self._clock()))

    def follows(self, number: int) -> None:
        """The follower has come so far, or fallen back so far."""
        if number < self._followed and self._seen:
            self._seen = deque([(self._seen[-1][0], self._clock())], _MEMORY)  # it was emptied just now
        self._followed = number
        while len(self._seen) > 1 and self._seen[0][0] <= number:
            self._seen.popleft()

    @property
    def steps(self) -> int:
        """How many numbers it is behind."""
        return max(0, self._seen[-1][0] - self._followed) if self._seen else 0

    @property
    def seconds(self) -> float:
        """For how long it has been behind; 0 where it is not."""
        since = next((at for number, at in self._seen if number > self._followed), None)
        return 0.0 if since is None else self._clock() - since
