"""Redis as a scan reads it: one pipelined round trip, shared by all scans of the process that wait for one.

Every round trip reads the head first. A scan is answered from memory only after a round trip whose head memory agrees
with: the cards that the log names as changed are forgotten before anybody is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from scanweb.lookup import history
from scanweb.lookup.batcher import Batcher
from scanweb.lookup.history import ItemQuery, ItemReply
from scanweb.lookup.memory import Memory, decode_entry
from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Command
from scanweb.visits.buffer import ScanBuffer
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import EVICTING_FIELD, GENERATION_FIELD, REVISION_FIELD
from zpcode.wire.scan_event import ScanEvent, encode

MAX_QUERIES: Final = 200
"""Queries in one round trip."""
FLUSH_SECONDS: Final = 0.05
LOG_ENTRIES: Final = 1000
FULL_SECONDS: Final = 1.0
"""For how long scans wait in the process after the inbox was at its limit."""
SLACK: Final = 0.05
"""Seconds that the batcher waits longer than the Redis client, so that the client reports its own timeout."""
HEAD: Final[Command] = ("HMGET", redis_keys.HEAD, GENERATION_FIELD, REVISION_FIELD, EVICTING_FIELD)
_NOT_BELIEVED = Text("缓存服务的内容暂不可信", "Redis is not believed just now")


class RedisQuery(msgspec.Struct, frozen=True):
    """What one scan needs from a round trip besides the head: cards by key, and its item."""

    keys: tuple[str, ...] = ()
    item: ItemQuery | None = None


class RedisReply(msgspec.Struct, frozen=True):
    """The reply to one query. Cards that were read are in memory; `absent` are the keys that Redis does not have.

    `changed`: the projection changed meanwhile, so the item's status has to be read again.
    """

    absent: frozenset[str] = frozenset()
    item: ItemReply = history.EMPTY
    changed: bool = False


class RedisReader:
    """Batches the queries of all scans. `wake` is called when Redis has to be compared with the database at once.

    `inbox` is the most entries of scans that may wait in Redis. `limit` is the most round trips at a time.
    """

    def __init__(
        self,
        redis: RedisClient,
        memory: Memory,
        buffer: ScanBuffer,
        *,
        wake: Callable[[], None],
        limit: int,
        inbox: int,
    ) -> None:
        self.redis, self.memory, self.buffer = redis, memory, buffer
        self.evicting = False  # this Redis drops keys when memory is short: a missing key proves nothing
        self._wake = wake
        self._inbox = inbox
        self._full_until = 0.0  # on the event loop's clock
        self._batcher: Batcher[RedisQuery, RedisReply] = Batcher(
            self._round_trip, limit=limit, size=MAX_QUERIES, deadline=redis.seconds + SLACK
        )
        self._flush: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0

    def query(self, query: RedisQuery) -> asyncio.Future[RedisReply]:
        """Send a query with the next round trip. Fails with Unavailable where Redis does not answer or is not believed."""
        return self._batcher.submit(query)

    def record(self, event: ScanEvent) -> None:
        """Send a scan to the inbox: with the next round trip, or after 50 ms with a round trip for it alone."""
        loop = asyncio.get_running_loop()
        if not len(self.buffer):
            self._waiting_since = loop.time()
        self.buffer.add(event)
        if self._flush is None and self.memory.believed:
            self._flush = loop.call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Begin a round trip if scans have waited for 50 ms. Under load the scans' own round trips come sooner.

        `Freshness` calls it every half second, so scans that could not be sent do not wait for the next scan.
        """
        self._flush = None
        if not len(self.buffer) or not self.memory.believed or not self._inbox_takes():
            return
        loop = asyncio.get_running_loop()
        rest = self._waiting_since + FLUSH_SECONDS - loop.time()
        if rest > FLUSH_SECONDS / 100:
            self._flush = loop.call_later(rest, self.flush)
        else:
            self._batcher.submit(RedisQuery())

    async def close(self) -> None:
        """Send the scans that wait, then close the connections."""
        if self._flush is not None:
            self._flush.cancel()
        while len(self.buffer) and self.memory.believed and self._inbox_takes():
            try:
                await self._batcher.submit(RedisQuery())
            except Unavailable:
                break
        await self._batcher.close()
        await self.redis.close()

    # One round trip ---------------------------------------------------------------------------------

    async def _round_trip(self, queries: Sequence[RedisQuery]) -> Sequence[RedisReply]:
        memory = self.memory
        if not memory.believed:
            raise Unavailable(_NOT_BELIEVED)
        epoch, revision = memory.epoch, memory.revision
        keys = tuple(dict.fromkeys([key for query in queries for key in query.keys]))
        item_queries = [query.item for query in queries if query.item is not None]
        groups = self._groups(item_queries)
        reads = _read_commands(keys)
        calls = [history.command([item_queries[at] for at in group], evicting=self.evicting) for group in groups]
        replies = await self._send([HEAD, *reads, *calls])
        head = redis_keys.read_head(replies[0])
        entries, absent = _entries(keys, replies[1 : 1 + len(reads)])
        items = iter(_item_replies(len(item_queries), groups, replies[1 + len(reads) :]))
        changed = await self._agree(head, epoch, revision)
        if not changed and memory.epoch == epoch:
            for key, entry in entries.items():
                memory.put(key, entry)
        return [
            RedisReply(
                absent.intersection(query.keys) if absent else absent,
                next(items) if query.item is not None else history.EMPTY,
                changed,
            )
            for query in queries
        ]

    async def _send(self, commands: list[Command]) -> list[Any]:
        """Send commands, and behind them the scans that wait as one entry of the inbox; returns the commands' replies."""
        events = self.buffer.take() if self._inbox_takes() else []
        if events:
            commands.append(("RPUSH", redis_keys.INBOX, encode(events)))
        try:
            replies = await self.redis.execute(commands)
        except BaseException:
            self.buffer.lose(len(events))
            self._doubt()
            raise
        if events:
            self._note_sent(len(events), replies.pop())
        return replies

    def _inbox_takes(self) -> bool:
        """Whether scans may be sent: the inbox's server is up, and the inbox was not at its limit just now."""
        if not self.redis.reaches(redis_keys.INBOX):
            return False
        return not self._full_until or asyncio.get_running_loop().time() >= self._full_until

    def _note_sent(self, number: int, reply: object) -> None:
        """Count scans as sent, or as dropped where the server refused them. `reply` is the length of the inbox then."""
        if not isinstance(reply, int):
            self.buffer.dropped += number
            return
        self.buffer.sent += number
        self._full_until = 0.0 if reply < self._inbox else asyncio.get_running_loop().time() + FULL_SECONDS

    def _doubt(self) -> None:
        self.memory.doubt()
        self._wake()

    async def _agree(self, head: tuple[str, int] | None, epoch: int, revision: int) -> bool:
        """Bring memory to the head that a round trip read; True where the cards it read may not be kept.

        `epoch` and `revision` are memory's before the round trip. Raises Unavailable where the head is not believed.
        """
        memory = self.memory
        if head is None or (head[0] == memory.generation and head[1] < revision):
            if head is None and memory.epoch == epoch:  # else memory may follow the database since: that stays
                memory.clear()
            self._doubt()
            raise Unavailable(_NOT_BELIEVED)
        if not memory.believed:
            raise Unavailable(_NOT_BELIEVED)
        if memory.epoch != epoch:
            return True
        if head[0] != memory.generation:  # to be compared first: it may be a replica from before a rebuild
            self._doubt()
            raise Unavailable(_NOT_BELIEVED)
        if head[1] > memory.revision:
            await self._advance(head[1])
            return True
        return head[1] < memory.revision

    async def _advance(self, revision: int) -> None:
        """Forget what the log names as changed up to `revision`."""
        memory = self.memory
        epoch, since = memory.epoch, memory.revision
        (entries,) = await self._read_log(since)
        if memory.epoch == epoch and memory.revision < revision:
            memory.advance(revision, changed_keys(entries, since, revision))

    async def _read_log(self, since: int) -> list[Any]:
        try:
            return await self.redis.execute([("XRANGE", redis_keys.LOG, f"{since}-0", "+", "COUNT", LOG_ENTRIES)])
        except BaseException:
            self._doubt()
            raise

    def _groups(self, queries: Sequence[ItemQuery]) -> list[list[int]]:
        """The positions of the queries that go into one call of the function.

        On a cluster one call is about one batch, whose keys share a slot; on a single server one call is about all.
        """
        if not self.redis.cluster:
            return [list(range(len(queries)))] if queries else []
        groups: dict[int, list[int]] = {}
        for position, query in enumerate(queries):
            groups.setdefault(query.number, []).append(position)
        return list(groups.values())

    # Histories that Redis does not have -------------------------------------------------------------

    async def complete(self, buckets: Mapping[tuple[int, int], Mapping[str, bytes]]) -> None:
        """Write buckets of histories (by batch and bucket) to Redis as the database has them.

        Views that Redis counted meanwhile stay. Raises Unavailable where Redis did not take them all.
        """
        commands: list[Command] = []
        for (number, bucket), entries in buckets.items():
            key, _ = redis_keys.history(number, bucket * redis_keys.BUCKET)
            commands += [("HSETNX", key, field, entry) for field, entry in entries.items()]
            commands.append(("HSET", key, redis_keys.COMPLETE, 1))
        replies = await self.redis.execute(commands)
        if any(isinstance(reply, Exception) for reply in replies):
            raise Unavailable(_NOT_BELIEVED)


def _read_commands(keys: Sequence[str]) -> list[Command]:
    """Commands that read cards: one for each card, and one for all standings of the registry."""
    if not keys:
        return []
    fields = [cast("str", redis_keys.location(key)[1]) for key in keys if key[0] == "s"]
    reads: list[Command] = [("GET", redis_keys.location(key)[0]) for key in keys if key[0] != "s"]
    return [*reads, ("HMGET", redis_keys.STANDINGS, redis_keys.COMPLETE, *fields)] if fields else reads


def _item_replies(count: int, groups: list[list[int]], replies: Sequence[Any]) -> list[ItemReply]:
    """The reply to each of `count` queries, in order. `replies` are those to the calls of `groups`."""
    items = [history.EMPTY] * count
    for group, reply in zip(groups, replies, strict=True):
        for position, item in zip(group, history.read_all(reply, len(group)), strict=True):
            items[position] = item
    return items


def _entries(keys: Sequence[str], replies: Sequence[Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Card entries by key, and the keys about which Redis says nothing.

    Where the hash of standings is complete, a missing standing means that there is none.
    """
    if not keys:
        return {}, frozenset()
    values = dict(zip((key for key in keys if key[0] != "s"), replies, strict=False))
    standings = [key for key in keys if key[0] == "s"]
    entries: dict[str, Any] = {}
    if standings and isinstance(replies[-1], list) and replies[-1][0] is not None:
        for key, value in zip(standings, replies[-1][1:], strict=True):
            if value is None:
                entries[key] = decode_entry(key, 0, None)
            else:
                values[key] = value
    for key, value in values.items():
        if isinstance(value, bytes):
            try:
                entries[key] = decode_entry(key, *redis_keys.unpack(value))
            except (msgspec.MsgspecError, ValueError):
                continue  # not a card: the database is asked
    return entries, frozenset(key for key in keys if key not in entries)


def changed_keys(entries: Any, since: int, revision: int) -> Iterable[str] | None:
    """The keys of cards that the log names between two revisions; None where it does not cover all revisions between."""
    if not isinstance(entries, list) or not entries:
        return None
    revisions = [int(entry[0].partition(b"-")[0]) for entry in entries]
    if revisions[0] != since or revisions[-1] < revision:
        return None
    return {
        name
        for _, fields in entries
        for field, value in zip(fields[::2], fields[1::2], strict=True)
        if field == b"k"
        for name in value.decode("utf-8", "replace").split("\n")
    }
