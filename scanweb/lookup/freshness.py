"""What the database says, and whether Redis is to be believed: asked every half second.

A revocation commits in PostgreSQL and is projected into Redis. Should that second step fail, or Redis come
back from an outage with old content, this is where it is noticed, within a second: the cards the
database has newer than Redis are laid over everything read from Redis.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Final

import msgspec

from scanweb.lookup import history
from scanweb.lookup.database import Database
from scanweb.lookup.memory import CardEntry, CardRow, Memory, held
from scanweb.lookup.redis_reader import HEAD, RedisReader, head_of
from scanweb.redis.connection import Command
from scanweb.visits.visitors import Salts
from zpcode.errors import Unavailable

_LOG = logging.getLogger(__name__)
PERIOD: Final = 0.5
AT_MOST: Final = 5000
"""More cards than this newer than Redis: then Redis is not believed at all until it has caught up."""

_ABOUT: Final[tuple[Command, ...]] = (("INFO", "memory"), ("INFO", "stats"), ("SCRIPT", "LOAD", history.SCRIPT))


class Freshness:
    """The background task. `state` says in one word where answers come from: redis, database or nowhere."""

    def __init__(self, memory: Memory, source: Database, salts: Salts) -> None:
        self.memory, self.source, self.salts = memory, source, salts
        self.state = "nowhere"
        self.looks = 0
        self.cache: RedisReader | None = None
        self._called = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._compared: tuple[str, int, int] | None = None

    def wake(self) -> None:
        """Look now, not at the end of the half second."""
        self._called.set()

    async def start(self, cache: RedisReader) -> None:
        """Look once, then go on looking."""
        self.cache = cache
        await self.source.open()
        await self.look()
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            timer = loop.call_later(PERIOD, self._called.set)
            await self._called.wait()
            timer.cancel()
            self._called.clear()
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - whatever it was, the next look comes
                _LOG.exception("the watch stumbled")
                self.memory.doubt()

    async def look(self) -> None:
        """One comparison. Never raises Unavailable: what does not answer is what this is about."""
        self.looks += 1
        redis = await self._redis_head()
        at = time.monotonic()
        try:
            database: int | None = await self.source.head()
        except Unavailable:
            database = None
        if redis is None or not await self._believable(redis, database):
            self.memory.doubt()
            await self._follow(database, at)
        state = "redis" if self.memory.believed else "database" if database is not None else "nowhere"
        if state != self.state:
            _LOG.log(logging.INFO if state == "redis" else logging.WARNING, "answers come from %s now", state)
            self.state = state
        if self.cache is not None:
            self.cache.flush()

    async def _redis_head(self) -> tuple[str, int] | None:
        """Redis's head, after everything else a process needs of Redis now and then; None where it is away or empty."""
        if self.cache is None:
            return None
        about: list[Command] = [] if self.cache.redis.cluster else list(_ABOUT)
        try:
            replies = await self.cache.redis.ask([HEAD, *about, *self.salts.asks()])
        except Unavailable:
            return None
        if about:
            self.cache.evicting = _evicting(replies[1], replies[2])
        self.salts.answer(replies[1 + len(about) :])
        return head_of(replies[0])

    async def _believable(self, redis: tuple[str, int], database: int | None) -> bool:
        """Whether Redis may be believed, with what the database has newer laid over it."""
        if database is None:  # Redis alone, as always: there is nobody to ask
            return self._alone(redis)
        compared = (*redis, database)
        if compared == self._compared and self.memory.believed:
            return True
        newer: dict[str, CardEntry] | None = {}
        if database > redis[1]:
            newer = await self._since(redis[1], database)
        if newer is None:
            return False
        self.memory.believe(*redis, newer)
        self.memory.met(database)
        self._compared = compared
        return True

    def _alone(self, redis: tuple[str, int]) -> bool:
        """Believe Redis without the database, unless it went back in time: a failover to a replica that lagged."""
        if self.memory.behind(*redis):
            return False
        self.memory.believe(*redis, self.memory.overlay)
        return True

    async def _since(self, revision: int, database: int) -> dict[str, CardEntry] | None:
        """Cards the database has newer than a revision; None where they are too many or it does not answer."""
        try:
            rows = await self.source.since(revision, AT_MOST, upto=database)
        except Unavailable:
            return None
        return None if len(rows) == AT_MOST else _held(rows)

    async def _follow(self, database: int | None, at: float) -> None:
        """While Redis is not believed, keep what is remembered in step with the database."""
        if database is None:
            return
        memory = self.memory
        if database == memory.revision or not len(memory):
            memory.follow(database, {}, at)
        else:
            # What a memory that was cleared holds again was all read at its floor or above.
            memory.follow(database, await self._since(memory.revision or memory.floor, database), at)


def _held(rows: list[CardRow]) -> dict[str, CardEntry]:
    found = {}
    for row in rows:
        try:
            found[row.key] = held(row.key, row.revision, row.body)
        except (msgspec.MsgspecError, KeyError, ValueError):
            _LOG.exception("a card that cannot be read", extra={"key": row.key})
    return found


def _evicting(memory: object, stats: object) -> bool:
    """Whether this Redis throws keys away when memory is short, or has done so, by two sections of INFO."""
    if not isinstance(memory, bytes) or not isinstance(stats, bytes):
        return True  # nobody can tell, so what is missing proves nothing
    evicted = _told(stats, b"evicted_keys")
    return evicted not in {b"", b"0"} or _told(memory, b"maxmemory_policy").startswith(b"allkeys")


def _told(section: bytes, field: bytes) -> bytes:
    return next((line[len(field) + 1 :] for line in section.split(b"\r\n") if line.startswith(field + b":")), b"")
