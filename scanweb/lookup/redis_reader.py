"""Redis as a scan sees it: one pipelined round trip, shared by all scans of the process that wait for one.

Every round trip asks for the head first. A scan is answered from memory only after a round trip whose
head memory agrees with: what the log names as changed was forgotten before anybody is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
from redis.exceptions import NoScriptError

from scanweb.lookup import history
from scanweb.lookup.batcher import Batcher
from scanweb.lookup.history import HistoryQuery, HistoryReply
from scanweb.lookup.memory import Memory, held
from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Command
from scanweb.visits.buffer import ScanBuffer
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD
from zpcode.wire.scan_event import EVENT_FIELD, ScanEvent, encode

AT_ONCE: Final = 200
FLUSH_SECONDS: Final = 0.05
LOG_ENTRIES: Final = 1000
SLACK: Final = 0.05
HEAD: Final[Command] = ("HMGET", redis_keys.HEAD, GENERATION_FIELD, REVISION_FIELD)
_NOT_BELIEVED = Text("缓存服务暂不可信", "Redis is not believed just now")


class RedisQuery(msgspec.Struct, frozen=True):
    """What one scan wants of a round trip besides the head: cards by key, and a look at its item."""

    keys: tuple[str, ...] = ()
    look: HistoryQuery | None = None


class RedisReply(msgspec.Struct, frozen=True):
    """What it was told. Cards found are in memory; `absent` ones are not in Redis.

    `moved` says that the projection changed meanwhile: what the look told of the item's status is to be
    asked again.
    """

    absent: frozenset[str] = frozenset()
    seen: HistoryReply = history.UNSEEN
    moved: bool = False


def head_of(reply: Any) -> tuple[str, int] | None:
    """Generation and revision out of the reply to `HEAD`; None from an empty projection."""
    if not isinstance(reply, list) or None in reply:
        return None
    generation, revision = cast("tuple[bytes, bytes]", reply)
    return generation.decode("ascii", "replace"), int(revision)


class RedisReader:
    """The coalescer. `wake` is called whenever Redis has to be compared with the database at once."""

    def __init__(
        self,
        redis: RedisClient,
        memory: Memory,
        buffer: ScanBuffer,
        *,
        wake: Callable[[], None],
        limit: int,
        stream: int,
    ) -> None:
        self.redis, self.memory, self.buffer = redis, memory, buffer
        self.evicting = False  # this Redis drops keys when memory is short: what is missing proves nothing
        self._wake = wake
        self._stream = stream
        self._gather: Batcher[RedisQuery, RedisReply] = Batcher(
            self._trip, limit=limit, size=AT_ONCE, deadline=redis.seconds + SLACK
        )
        self._flush: asyncio.TimerHandle | None = None
        self._waiting_since = 0.0

    def ask(self, question: RedisQuery) -> asyncio.Future[RedisReply]:
        """One question for the next round trip. Fails with Unavailable where Redis cannot be asked or believed."""
        return self._gather.ask(question)

    def record(self, event: ScanEvent) -> None:
        """Send a scan to the stream: with the next round trip, or with one of its own after 50 ms."""
        loop = asyncio.get_running_loop()
        if not len(self.buffer):
            self._waiting_since = loop.time()
        self.buffer.add(event)
        if self._flush is None and self.memory.believed:
            self._flush = loop.call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Begin a round trip if scans have waited for 50 ms: under load the scans' own always come sooner."""
        self._flush = None
        if not len(self.buffer) or not self.memory.believed:
            return
        loop = asyncio.get_running_loop()
        rest = self._waiting_since + FLUSH_SECONDS - loop.time()
        if rest > FLUSH_SECONDS / 100:
            self._flush = loop.call_later(rest, self.flush)
        else:
            self._gather.ask(RedisQuery())

    async def close(self) -> None:
        """Send what still waits, then let go of Redis."""
        if self._flush is not None:
            self._flush.cancel()
        while len(self.buffer) and self.memory.believed and self.redis.reaches(redis_keys.SCANS):
            try:
                await self._gather.ask(RedisQuery())
            except Unavailable:
                break
        await self._gather.close()
        await self.redis.close()

    # One round trip ---------------------------------------------------------------------------------

    async def _trip(self, asks: Sequence[RedisQuery]) -> Sequence[RedisReply]:
        memory = self.memory
        if not memory.believed:
            raise Unavailable(_NOT_BELIEVED)
        epoch, revision = memory.epoch, memory.revision
        keys = tuple(dict.fromkeys([key for ask in asks for key in ask.keys]))
        looks = [ask.look for ask in asks if ask.look is not None]
        groups = self._groups(looks)
        reads = _reads(keys)
        replies = await self._send([HEAD, *reads, *(self._look([looks[place] for place in group]) for group in groups)])
        head = head_of(replies[0])
        cards, absent = _cards(keys, replies[1 : 1 + len(reads)])
        seen = iter(await self._looked(looks, groups, replies[1 + len(reads) :]))
        moved = await self._agree(head, epoch, revision)
        if not moved and memory.epoch == epoch:
            for key, found in cards.items():
                memory.put(key, found)
        return [
            RedisReply(
                absent.intersection(ask.keys) if absent else absent,
                next(seen) if ask.look is not None else history.UNSEEN,
                moved,
            )
            for ask in asks
        ]

    async def _send(self, commands: list[Command]) -> list[Any]:
        """The replies, with the scans that wait sent along behind as one entry of the stream."""
        events = self.buffer.take() if self.redis.reaches(redis_keys.SCANS) else []
        if events:
            entry = encode(events)
            add: Command = ("XADD", redis_keys.SCANS, "MAXLEN", "~", self._stream, "*", EVENT_FIELD, entry)
            commands.append(add)
        try:
            replies = await self.redis.ask(commands)
        except BaseException:
            self.buffer.lose(len(events))
            self._doubt()
            raise
        if events:
            if isinstance(replies.pop(), Exception):
                self.buffer.dropped += len(events)
            else:
                self.buffer.sent += len(events)
        return replies

    def _doubt(self) -> None:
        self.memory.doubt()
        self._wake()

    async def _agree(self, head: tuple[str, int] | None, epoch: int, revision: int) -> bool:
        """Bring memory to the head a round trip saw; True where what it read may not be kept.

        `epoch` and `revision` are memory's from before the round trip.
        """
        memory = self.memory
        if head is None or (head[0] == memory.generation and head[1] < revision):
            if head is None:
                memory.clear()
            self._doubt()
            raise Unavailable(_NOT_BELIEVED)
        if not memory.believed:
            raise Unavailable(_NOT_BELIEVED)
        if memory.epoch != epoch:
            return True
        if head[0] != memory.generation:  # compared first: it may be a replica from before a rebuild
            self._doubt()
            raise Unavailable(_NOT_BELIEVED)
        if head[1] > memory.revision:
            await self._advance(head[1])
            return True
        return head[1] < memory.revision

    async def _advance(self, revision: int) -> None:
        memory = self.memory
        epoch, known = memory.epoch, memory.revision
        (entries,) = await self._send_log(known)
        if memory.epoch == epoch and memory.revision < revision:
            memory.advance(revision, changed(entries, known, revision))

    async def _send_log(self, known: int) -> list[Any]:
        try:
            return await self.redis.ask([("XRANGE", redis_keys.LOG, f"{known}-0", "+", "COUNT", LOG_ENTRIES)])
        except BaseException:
            self._doubt()
            raise

    def _groups(self, looks: Sequence[HistoryQuery]) -> list[list[int]]:
        """Which looks go into one call, by their places: on a cluster those of one batch, whose keys share a slot."""
        if not self.redis.cluster:
            return [list(range(len(looks)))] if looks else []
        groups: dict[int, list[int]] = {}
        for place, look in enumerate(looks):
            groups.setdefault(look.number, []).append(place)
        return list(groups.values())

    def _look(self, looks: Sequence[HistoryQuery], *, script: bool = False) -> Command:
        return history.command(looks, evicting=self.evicting, script=script)

    async def _looked(
        self, looks: Sequence[HistoryQuery], groups: list[list[int]], replies: Sequence[Any]
    ) -> list[HistoryReply]:
        anew = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if anew:  # a server that was just started; what others counted already is not counted again
            calls = [self._look([looks[place] for place in groups[at]], script=True) for at in anew]
            replies = list(replies)
            for at, reply in zip(anew, await self.redis.ask(calls), strict=True):
                replies[at] = reply
        seen = [history.UNSEEN] * len(looks)
        for group, reply in zip(groups, replies, strict=True):
            for place, found in zip(group, history.read_all(reply, len(group)), strict=True):
                seen[place] = found
        return seen

    # Histories that Redis does not have -------------------------------------------------------------

    async def complete(self, buckets: Mapping[tuple[int, int], Mapping[str, bytes]]) -> None:
        """Give Redis buckets of histories (by batch and bucket) as the database knows them.

        What was counted meanwhile stays. Raises Unavailable where Redis did not take them all.
        """
        commands: list[Command] = []
        for (number, bucket), entries in buckets.items():
            key, _ = redis_keys.history(number, bucket * redis_keys.BUCKET)
            commands += [("HSETNX", key, field, entry) for field, entry in entries.items()]
            commands.append(("HSET", key, redis_keys.COMPLETE, 1))
        replies = await self.redis.ask(commands)
        if any(isinstance(reply, Exception) for reply in replies):
            raise Unavailable(_NOT_BELIEVED)


def _reads(keys: Sequence[str]) -> list[Command]:
    """Commands that read cards: standings of the registry in one, each other card in one of its own."""
    if not keys:
        return []
    fields = [cast("str", redis_keys.place(key)[1]) for key in keys if key[0] == "s"]
    reads: list[Command] = [("GET", redis_keys.place(key)[0]) for key in keys if key[0] != "s"]
    return [*reads, ("HMGET", redis_keys.STANDINGS, redis_keys.COMPLETE, *fields)] if fields else reads


def _cards(keys: Sequence[str], replies: Sequence[Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Cards by key, and the keys Redis cannot speak for. A standing is absent from a complete hash: none."""
    if not keys:
        return {}, frozenset()
    values = dict(zip((key for key in keys if key[0] != "s"), replies, strict=False))
    standings = [key for key in keys if key[0] == "s"]
    found: dict[str, Any] = {}
    if standings and isinstance(replies[-1], list) and replies[-1][0] is not None:
        for key, value in zip(standings, replies[-1][1:], strict=True):
            if value is None:
                found[key] = held(key, 0, None)
            else:
                values[key] = value
    for key, value in values.items():
        if isinstance(value, bytes):
            try:
                found[key] = held(key, *redis_keys.unpack(value))
            except (msgspec.MsgspecError, ValueError):
                continue  # not one of ours: the database knows
    return found, frozenset(key for key in keys if key not in found)


def changed(entries: Any, known: int, revision: int) -> Iterable[str] | None:
    """The cards the log names between two revisions; None where it does not reach from one to the other."""
    if not isinstance(entries, list) or not entries:
        return None
    revisions = [int(entry[0].partition(b"-")[0]) for entry in entries]
    if revisions[0] != known or revisions[-1] < revision:
        return None
    return {
        name
        for _, fields in entries
        for field, value in zip(fields[::2], fields[1::2], strict=True)
        if field == b"k"
        for name in value.decode("utf-8", "replace").split("\n")
    }
