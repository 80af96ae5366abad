"""The public notices, for the landing page: read in the background, never while anybody waits.

The watch tells every half second how far the authority has come. When that has moved, and only then, the one card
of notices is read again, from Redis or, where it does not answer or does not have it, from the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from scanweb.lookup.lookup import View
from scanweb.lookup.memory import Memory, held
from scanweb.lookup.redis_reader import RedisQuery, RedisReader
from zpcode.errors import Text, Unavailable
from zpcode.wire.card import NoticesCard, notices_key

PERIOD: Final = 5.0
CURRENT_SECONDS: Final = 30.0
"""How long a list is shown that nobody confirms any more."""
ROUNDS: Final = 4
_KEY: Final = notices_key()
_UNSETTLED: Final = Text("数据正在变动，请稍后再试", "the data is changing just now; try again shortly")
_LOG = logging.getLogger(__name__)


class Notices:
    """What was published last, as this process knows it.

    `watched` tells whether the watch has anybody to ask; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        memory: Memory,
        cache: RedisReader,
        source: View,
        watched: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory, self.cache, self.source = memory, cache, source
        self._watched, self._clock = watched, clock
        self._card: NoticesCard | None = None
        self._as_of: tuple[str | None, int] | None = None  # generation and floor the card was read at
        self._confirmed = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def current(self) -> NoticesCard | None:
        """The notices; None where they cannot be shown now. Asks nobody."""
        return self._card if self._clock() - self._confirmed <= CURRENT_SECONDS else None

    async def start(self) -> None:
        """Look once, then go on looking every five seconds."""
        await self.look()
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - whatever it was, the next look comes
                _LOG.exception("the notices could not be read")

    async def look(self) -> None:
        """Read the card if anything has changed since. Never raises Unavailable: then nothing is confirmed."""
        if not self._watched():
            return
        as_of = (self.memory.generation, self.memory.floor)
        if as_of != self._as_of:
            try:
                self._card = await self._read()
            except Unavailable:
                return
            self._as_of = as_of
        self._confirmed = self._clock()

    async def _read(self) -> NoticesCard:
        if self.memory.believed:
            try:
                return await self._in_redis()
            except Unavailable:
                pass  # the database is asked instead
        return await self._in_database()

    async def _in_redis(self) -> NoticesCard:
        """From memory, once a round trip has confirmed it. Raises Unavailable, also where Redis does not have it."""
        for _ in range(ROUNDS):
            told = await self.cache.ask(RedisQuery(() if self.memory.get(_KEY) is not None else (_KEY,)))
            if told.absent:
                break
            found = None if told.moved else self.memory.get(_KEY)
            if found is not None and isinstance(found.card, NoticesCard):
                return found.card
        raise Unavailable(_UNSETTLED)

    async def _in_database(self) -> NoticesCard:
        """From the view; without a row there has never been a notice. Raises Unavailable."""
        row = (await self.source.read([_KEY])).get(_KEY)
        try:
            card = NoticesCard() if row is None else held(_KEY, row.revision, row.body).card
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(_UNSETTLED) from error
        return card if isinstance(card, NoticesCard) else NoticesCard()
