"""The photos of complaints wait here for the decoder, outside of the slots in which forms are read.

Senders take turns: of one network (a /24 or an IPv6 /48) one photo is decoded at a time, and its next photo waits behind
those of the others. So a sender with slow photos delays another sender by one photo, not by all of them.

Photos wait in memory, at most 30 MB for each form, so the number of forms is bounded: eight, of which three of one network.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from zpcode.ratelimit import network
from zpcode.services.pictures.decoder import CHILDREN

FORMS: Final = 8
FORMS_EACH: Final = 3


class QueueFull(Exception):
    """No more forms with photos may wait at present."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A photo that waits, of a sender; None: of a proxy that does not pass on its clients' addresses."""

    sender: bytes | None
    photo: bytes
    decoded: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class PhotoQueue:
    """Runs `decode` in as many threads as the decoder has children. Used in one event loop."""

    def __init__(self, decode: Callable[[bytes], bytes]) -> None:
        self._decode = decode
        self._threads = ThreadPoolExecutor(CHILDREN, "photos")
        self._forms: Counter[bytes | None] = Counter()
        self._turns: OrderedDict[bytes | None, deque[_Waiting]] = OrderedDict()
        self._running: list[_Waiting] = []

    async def decode(self, photos: Sequence[bytes], address: str | None) -> list[bytes | Exception]:
        """The photos of one form, decoded in order; for each that cannot be, the error. Raises QueueFull."""
        sender = network(address)
        if self._forms.total() >= FORMS or (sender is not None and self._forms[sender] >= FORMS_EACH):
            raise QueueFull
        self._forms[sender] += 1
        try:
            return [await self._outcome(photo, sender) for photo in photos]
        finally:
            self._forms[sender] -= 1
            if not self._forms[sender]:
                del self._forms[sender]

    async def _outcome(self, photo: bytes, sender: bytes | None) -> bytes | Exception:
        waiting = _Waiting(sender, photo)
        self._turns.setdefault(sender, deque()).append(waiting)
        self._start()
        try:
            return await waiting.decoded
        except Exception as error:  # noqa: BLE001 - it is the caller's
            return error

    def _start(self) -> None:
        """Start the photos whose turn it is."""
        while len(self._running) < CHILDREN and (waiting := self._next()) is not None:
            self._running.append(waiting)
            run = asyncio.get_running_loop().run_in_executor(self._threads, self._decode, waiting.photo)
            run.add_done_callback(lambda run, waiting=waiting: self._finish(waiting, run))  # type: ignore[misc]

    def _next(self) -> _Waiting | None:
        """The photo of the sender who has waited longest and has none that is being decoded."""
        busy = {one.sender for one in self._running} - {None}
        sender = next((one for one in self._turns if one not in busy), ...)
        if sender is ...:
            return None
        photos = self._turns.pop(sender)
        waiting = photos.popleft()
        if photos:
            self._turns[sender] = photos  # behind the others
        return waiting

    def _finish(self, waiting: _Waiting, run: asyncio.Future[bytes]) -> None:
        self._running.remove(waiting)
        if waiting.sender in self._turns:
            self._turns.move_to_end(waiting.sender)
        if not waiting.decoded.done():  # its form may have been cancelled
            error = run.exception()
            if error is None:
                waiting.decoded.set_result(run.result())
            else:
                waiting.decoded.set_exception(error)
        self._start()
