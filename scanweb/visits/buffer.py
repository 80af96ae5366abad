"""Scans on their way to the stream: kept in memory up to a bound, sent along with the next round trip."""

from __future__ import annotations

import logging
from collections import deque

from zpcode.wire.scan_event import AT_ONCE, ScanEvent

_LOG = logging.getLogger(__name__)


class ScanBuffer:
    """Scans that wait. Beyond `bound` the newest are dropped, and counted as dropped."""

    __slots__ = ("_bound", "_waiting", "dropped", "sent")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiting: deque[ScanEvent] = deque()
        self.dropped = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: ScanEvent) -> None:
        """One more scan."""
        if len(self._waiting) < self._bound:
            self._waiting.append(event)
        else:
            if self.dropped == 0:
                _LOG.warning("the scan buffer is full; scans are being dropped", extra={"bound": self._bound})
            self.dropped += 1

    def take(self) -> list[ScanEvent]:
        """The oldest scans, as many as one entry of the stream holds."""
        waiting = self._waiting
        if len(waiting) <= AT_ONCE:
            taken = list(waiting)
            waiting.clear()
            return taken
        return [waiting.popleft() for _ in range(AT_ONCE)]

    def lose(self, number: int) -> None:
        """Scans that were sent and not acknowledged: they may have arrived, and none may count twice."""
        self.dropped += number
