"""The public notices for the landing page, read in the background: no request waits for them.

`Freshness` notes every half second how far the authority has come. Only when that has moved, the card of notices is read
again: from Redis, or from the database where Redis does not answer or does not have it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from scanweb.lookup.lookup import ScanView
from scanweb.lookup.memory import Memory, decode_entry
from scanweb.lookup.redis_reader import RedisQuery, RedisReader
from zpcode.errors import Text, Unavailable
from zpcode.wire.card import NoticesCard, notices_key

PERIOD: Final = 5.0
CURRENT_SECONDS: Final = 30.0
"""How long notices are shown after they were confirmed last."""
ROUNDS: Final = 4
_KEY: Final = notices_key()
_UNSETTLED: Final = Text("数据正在变动，请稍后再试", "the data is changing just now; try again shortly")
_LOG = logging.getLogger(__name__)


class Notices:
    """The published notices.

    `reachable` says whether Redis or the database answers; `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        memory: Memory,
        redis: RedisReader,
        database: ScanView,
        reachable: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.memory, self.redis, self.database = memory, redis, database
        self._reachable, self._clock = reachable, clock
        self._card: NoticesCard | None = None
        self._as_of: tuple[str | None, int] | None = None  # generation and floor the card was read at
        self._confirmed = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def current(self) -> NoticesCard | None:
        """The notices; None where they were not confirmed lately. Does no I/O."""
        return self._card if self._clock() - self._confirmed <= CURRENT_SECONDS else None

    async def start(self) -> None:
        """Read them once, then again every five seconds."""
        await self.refresh()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 - whatever failed, the next refresh follows
                _LOG.exception("the notices could not be read")

    async def refresh(self) -> None:
        """Read the card if anything has changed since. Where no server answers, nothing is confirmed. Raises nothing."""
        if not self._reachable():
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
        """From memory, after a round trip confirmed it. Raises Unavailable, also where Redis does not have the card."""
        for _ in range(ROUNDS):
            reply = await self.redis.query(RedisQuery(() if self.memory.get(_KEY) is not None else (_KEY,)))
            if reply.absent:
                break
            entry = None if reply.changed else self.memory.get(_KEY)
            if entry is not None and isinstance(entry.card, NoticesCard):
                return entry.card
        raise Unavailable(_UNSETTLED)

    async def _in_database(self) -> NoticesCard:
        """From the view. No row means that no notice was ever published. Raises Unavailable."""
        row = (await self.database.read([_KEY])).get(_KEY)
        try:
            card = NoticesCard() if row is None else decode_entry(_KEY, row.revision, row.body).card
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(_UNSETTLED) from error
        return card if isinstance(card, NoticesCard) else NoticesCard()
