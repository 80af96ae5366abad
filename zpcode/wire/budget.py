"""So many a minute: what that means, the same wherever requests are counted.

A budget is spent by GCRA (ITU-T I.371, annex A): a minute's worth at once, from then on at the budget's pace.
It keeps one number a key: when that key will have paid for everything it had. Whoever has paid is forgotten within a
minute, or with the next that is spent.
"""

from __future__ import annotations

import math
from typing import Final

MINUTE: Final = 60.0
KEPT: Final = 50_000
"""Keys remembered, unless told otherwise: about 6 MB of them."""
_SLACK: Final = 1e-6  # seconds: more than adding up a minute's steps can lose


class Budget:
    """`each_minute` of something for each key; 0: as much as it likes. `now` is in seconds and never goes back."""

    __slots__ = ("_due", "_kept", "_room", "_step", "_sweep")

    def __init__(self, each_minute: int, kept: int = KEPT) -> None:
        self._step = MINUTE / each_minute if each_minute else 0.0
        self._room = MINUTE - self._step + _SLACK
        self._kept = kept
        self._due: dict[str | bytes, float] = {}
        self._sweep = 0.0  # when whoever has paid is to be forgotten next

    def __len__(self) -> int:
        return len(self._due)

    def spend(self, key: str | bytes, now: float) -> float:
        """Take one. 0 where there was one to take, otherwise the seconds until there is."""
        due = self._due.get(key, 0.0)
        if due > now:
            if due - now > self._room:
                return due - now - self._room
            self._due[key] = due + self._step
            return 0.0
        if self._step:
            if now >= self._sweep:
                self._sweep = now + MINUTE
                self._due = {other: due for other, due in self._due.items() if due > now}
            if len(self._due) >= self._kept:
                self._forget(now)
            self._due[key] = now + self._step
        return 0.0

    def wait(self, key: str | bytes, now: float) -> float:
        """The seconds until there is one to take; takes nothing."""
        return max(0.0, self._due.get(key, 0.0) - now - self._room)

    def _forget(self, now: float) -> None:
        """Make room for at least half: first whoever has paid, then whoever spent less than half, then everybody."""
        for least in (now, now + MINUTE / 2, math.inf):
            self._due = {key: due for key, due in self._due.items() if due > least}
            if len(self._due) <= self._kept // 2:
                return
