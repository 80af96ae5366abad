"""How far one counter is behind another, in numbers and in seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

_MEMORY: Final = 4096


class Lag:
    """A leader and its follower, each of which counts upwards. `clock` gives monotonic seconds.

    The lag in seconds is the age of the oldest number of the leader that the follower has not reached. A number's age
    begins when `leads` is first called with it, so the lag is as exact as these calls are frequent. The last 4096
    numbers of the leader are remembered.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._leader: deque[tuple[int, float]] = deque(maxlen=_MEMORY)
        self._follower = -1

    def leads(self, number: int) -> None:
        """Record the present number of the leader."""
        if not self._leader or number > self._leader[-1][0]:
            self._leader.append((number, self._clock()))

    def follows(self, number: int) -> None:
        """Record the present number of the follower. A smaller number than before means that it was just emptied."""
        if number < self._follower and self._leader:
            self._leader = deque([(self._leader[-1][0], self._clock())], _MEMORY)
        self._follower = number
        while len(self._leader) > 1 and self._leader[0][0] <= number:
            self._leader.popleft()

    @property
    def steps(self) -> int:
        """By how much the follower's number is smaller."""
        return max(0, self._leader[-1][0] - self._follower) if self._leader else 0

    @property
    def seconds(self) -> float:
        """For how long the follower has been behind; 0 if it is not behind."""
        since = next((at for number, at in self._leader if number > self._follower), None)
        return 0.0 if since is None else self._clock() - since
