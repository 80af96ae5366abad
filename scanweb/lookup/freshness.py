"""Compares Redis with the database every half second, and decides whether Redis is believed.

A revocation is committed in PostgreSQL and then projected into Redis. If the projection fails, or Redis comes back from
an outage with old content, the comparison notices it within a second: the cards that the database has newer than Redis
are laid over everything read from Redis.

While a witness disagrees with the database, `Memory.doubted` is set: the resolver then reads the database with every scan
and shows the graver of both.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import msgspec

from scanweb.lookup.database import Database
from scanweb.lookup.memory import CardEntry, CardRow, Memory, decode_entry
from scanweb.lookup.redis_reader import HEAD, RedisReader
from scanweb.visits.visitors import Salts
from zpcode.errors import Unavailable
from zpcode.wire import redis_keys

_LOG = logging.getLogger(__name__)
PERIOD: Final = 0.5
MAX_NEWER: Final = 5000
"""If the database has more cards newer than Redis, Redis is not believed until it has caught up."""


class Freshness:
    """The background task. `state` says where answers come from: redis, database or nowhere; `comparisons` counts them."""

    def __init__(self, memory: Memory, database: Database, salts: Salts) -> None:
        self.memory, self.database, self.salts = memory, database, salts
        self.state = "nowhere"
        self.comparisons = 0
        self.redis: RedisReader | None = None
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._compared: tuple[str, int, int] | None = None

    def wake(self) -> None:
        """Compare now, not at the end of the half second."""
        self._due.set()

    async def start(self, redis: RedisReader) -> None:
        """Compare once, then go on in the background."""
        self.redis = redis
        await self.database.open()
        await self.compare()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(PERIOD, self._due.set)
            await self._due.wait()
            timer.cancel()
            self._due.clear()
            try:
                await self.compare()
            except Exception:  # noqa: BLE001 - whatever failed, the next comparison follows
                _LOG.exception("Redis could not be compared with the database")
                self.memory.doubt()

    async def compare(self) -> None:
        """Compare once. Never raises Unavailable: a server that does not answer is one of the results."""
        self.comparisons += 1
        redis = await self._redis_head()
        at = time.monotonic()
        database: int | None = None
        try:
            head = await self.database.head()
        except Unavailable:
            pass  # whether it is doubted stays as it was last
        else:
            database, self.memory.doubted = None if head.lags else head.revision, head.doubted
        if redis is None or not await self._believe(redis, database):
            self.memory.doubt()
            await self._follow(database, at)
        state = "redis" if self.memory.believed else "database" if database is not None else "nowhere"
        if state != self.state:
            _LOG.log(logging.INFO if state == "redis" else logging.WARNING, "answers come from %s now", state)
            self.state = state
        if self.redis is not None:
            self.redis.flush()

    async def _redis_head(self) -> tuple[str, int] | None:
        """Redis's head; None where Redis does not answer or is empty.

        The same round trip fetches everything else that a process needs from Redis at times.
        """
        if self.redis is None:
            return None
        try:
            replies = await self.redis.redis.execute([HEAD, *self.salts.commands()])
        except Unavailable:
            return None
        self.redis.evicting = redis_keys.is_evicting(replies[0])
        self.salts.read(replies[1:])
        return redis_keys.read_head(replies[0])

    async def _believe(self, redis: tuple[str, int], database: int | None) -> bool:
        """Believe Redis, with the cards that the database has newer laid over it; False where that cannot be done."""
        if database is None:
            return self._believe_alone(redis)
        compared = (*redis, database)
        if compared == self._compared and self.memory.believed:
            return True
        newer: dict[str, CardEntry] | None = {}
        if database > redis[1]:
            newer = await self._since(redis[1], database)
        if newer is None:
            return False
        self.memory.believe(*redis, newer)
        self.memory.raise_floor(database)
        self._compared = compared
        return True

    def _believe_alone(self, redis: tuple[str, int]) -> bool:
        """Believe Redis while the database is away; False where it went back in time: a failover to a replica that lagged."""
        if self.memory.behind(*redis):
            return False
        self.memory.believe(*redis, self.memory.overlay)
        return True

    async def _since(self, revision: int, database: int) -> dict[str, CardEntry] | None:
        """Cards the database has newer than a revision; None where there are too many or the database does not answer."""
        try:
            rows = await self.database.since(revision, MAX_NEWER, upto=database)
        except Unavailable:
            return None
        return None if len(rows) == MAX_NEWER else _entries(rows)

    async def _follow(self, database: int | None, at: float) -> None:
        """While Redis is not believed, keep memory in step with the database, which stood at this revision at `at`."""
        if database is None:
            return
        memory = self.memory
        # Cards that were put into a cleared memory (revision 0) were all read at its floor or above.
        revision = memory.revision or memory.floor
        if database == revision or not len(memory):
            memory.follow(database, {}, at)
        else:
            memory.follow(database, await self._since(revision, database), at)


def _entries(rows: list[CardRow]) -> dict[str, CardEntry]:
    entries = {}
    for row in rows:
        try:
            entries[row.key] = decode_entry(row.key, row.revision, row.body)
        except (msgspec.MsgspecError, KeyError, ValueError):
            _LOG.exception("a card that cannot be read", extra={"key": row.key})
    return entries
