"""The photos of complaints wait here for the decoder, outside of the space in which forms are read.

Senders take turns. Of one block of addresses (an IPv4 /16, an IPv6 /32) one photo is decoded at a time. The next photo is that
of the block that has waited longest for a turn, in it of such a network (a /24, an IPv6 /48), in it of such an address. So a
sender with slow photos delays another by one photo, not by all of them, however many addresses it has.

Photos wait in memory, so their size is bounded. Senders share this space (`zpcode.portal.shell.shared_space`): a form with
small photos takes the place of large ones. A form counts as at least 4 MiB, so that at most 64 wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from zpcode.portal.shell.shared_space import SharedSpace, SpaceFull
from zpcode.ratelimit import block, network, payer
from zpcode.services.pictures.decoder import CHILDREN

SPACE: Final = 256 * 2**20
LEAST: Final = 4 * 2**20
_TURNS: Final = 10_000
"""Senders whose last turn is remembered."""
_Sender = tuple[bytes | None, bytes | None, bytes | None]
"""Block, network and address; None: of a proxy that does not pass on its clients' addresses."""


class QueueFull(Exception):
    """The photos of this form cannot wait any longer: there are too many, and this sender has as many as others."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A photo that waits."""

    sender: _Sender
    photo: bytes
    decoded: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class PhotoQueue:
    """Runs `decode` in as many threads as the decoder has children. Used in one event loop."""

    def __init__(self, decode: Callable[[bytes], bytes], space: int = SPACE) -> None:
        self._decode = decode
        self._threads = ThreadPoolExecutor(CHILDREN, "photos")
        self._space = SharedSpace(space, LEAST)
        self._waiting: list[_Waiting] = []
        self._running: list[_Waiting] = []
        self._turns: OrderedDict[tuple[int, bytes | None], int] = OrderedDict()
        self._turn = 0

    def __len__(self) -> int:
        """How many forms have photos here."""
        return len(self._space)

    async def decode(
        self, photos: Sequence[bytes], address: str | None, count: Callable[[bytes | Exception], None]
    ) -> list[bytes | Exception]:
        """The photos of one form, decoded in order; for each that cannot be, the error. `count` gets each at once.

        Raises QueueFull, at once or when the form has to give way to another.
        """
        sender, outcomes = (block(address), network(address), payer(address)), []
        try:
            async with self._space.hold(address, sum(map(len, photos))):
                for photo in photos:
                    outcomes.append(await self._outcome(photo, sender))
                    count(outcomes[-1])
        except SpaceFull:
            raise QueueFull from None
        return outcomes

    async def _outcome(self, photo: bytes, sender: _Sender) -> bytes | Exception:
        waiting = _Waiting(sender, photo)
        self._waiting.append(waiting)
        self._start()
        try:
            return await waiting.decoded
        except Exception as error:  # noqa: BLE001 - it is the caller's
            return error
        finally:
            if waiting in self._waiting:  # its form was given up
                self._waiting.remove(waiting)

    def _start(self) -> None:
        """Start the photos whose turn it is."""
        while len(self._running) < CHILDREN and (waiting := self._next()) is not None:
            self._waiting.remove(waiting)
            self._running.append(waiting)
            self._note_turn(waiting.sender)
            run = asyncio.get_running_loop().run_in_executor(self._threads, self._decode, waiting.photo)
            run.add_done_callback(lambda run, waiting=waiting: self._finish(waiting, run))  # type: ignore[misc]

    def _next(self) -> _Waiting | None:
        """The photo whose sender has waited longest for a turn, of a block that has none in work."""
        busy = {one.sender[0] for one in self._running} - {None}
        ready = (one for one in self._waiting if one.sender[0] not in busy)
        return min(ready, key=lambda one: [self._turns.get(level, 0) for level in enumerate(one.sender)], default=None)

    def _note_turn(self, sender: _Sender) -> None:
        """This sender has its turn now, at each level."""
        self._turn += 1
        for level in enumerate(sender):
            self._turns[level] = self._turn
            self._turns.move_to_end(level)
        while len(self._turns) > _TURNS:
            self._turns.popitem(last=False)

    def _finish(self, waiting: _Waiting, run: asyncio.Future[bytes]) -> None:
        self._running.remove(waiting)
        self._note_turn(waiting.sender)
        if not waiting.decoded.done():  # its form may have been given up
            error = run.exception()
            if error is None:
                waiting.decoded.set_result(run.result())
            else:
                waiting.decoded.set_exception(error)
        self._start()
