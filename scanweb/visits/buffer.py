"""Scans on their way to the stream: kept in memory up to a bound, sent with the next round trip."""

from __future__ import annotations

import logging
from collections import deque

from zpcode.wire.scan_event import AT_ONCE, ScanEvent

_LOG = logging.getLogger(__name__)


class ScanBuffer:
    """Scans that wait, at most `bound`. Further scans are dropped and counted in `dropped`."""

    __slots__ = ("_bound", "_waiting", "dropped", "sent")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._waiting: deque[ScanEvent] = deque()
        self.dropped = 0
        self.sent = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: ScanEvent) -> None:
        """Add a scan, or drop it where the buffer is full."""
        if len(self._waiting) < self._bound:
            self._waiting.append(event)
        else:
            if self.dropped == 0:
                _LOG.warning("the scan buffer is full; scans are being dropped", extra={"bound": self._bound})
            self.dropped += 1

    def take(self) -> list[ScanEvent]:
        """Remove and return the oldest scans, at most as many as one entry of the stream holds."""
        waiting = self._waiting
        if len(waiting) <= AT_ONCE:
            taken = list(waiting)
            waiting.clear()
            return taken
        return [waiting.popleft() for _ in range(AT_ONCE)]

    def lose(self, number: int) -> None:
        """Count scans as dropped that were sent and not acknowledged. They may have arrived, so they are not sent again."""
        self.dropped += number
