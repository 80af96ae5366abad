"""From the `card` table into Redis: after every commit, again by the worker, and from nothing.

Nothing here decides; it copies. Redis may be emptied, frozen or replaced at any moment, and on a cluster each shard
for itself: a shard without its head is filled from the table, one that fell behind is told again from where it
stands. A head is moved on when every card up to it was written to every shard that answers, so a shard whose head
is older than another's has lost something, and readers do not believe it (docs/adr/0006).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec

from redis import Redis
from redis.exceptions import RedisError

from zpcode.errors import Text, Unavailable
from zpcode.projection.client import AnyRedis, Layout, ShardClient, layout
from zpcode.store import cards as card_table
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.scans import unscanned
from zpcode.wire import redis_keys
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD, batch_key

P = ParamSpec("P")
CHUNK: Final = 500
_SLOTS_FIELD: Final = "slots"
_AWAY: Final = Text(
    "缓存服务暂时无法访问，更改已保存，稍后自动同步", "Redis does not answer; the change is saved and follows by itself"
)
_EMPTIED: Final = Text("缓存服务刚被清空，稍后自动重建", "Redis was emptied just now; it is rebuilt by itself shortly")
_TO_FILL: Final = Text(
    "缓存服务正待重建，更改已保存，稍后自动同步",
    "Redis is waiting to be filled anew; the change is saved and follows by itself",
)

# Replace a card only by a newer one: a write that a frozen server carries out late undoes nothing.
_NEWER = """
local old = ARGV[2] == '' and redis.call('GET', KEYS[1]) or (ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[2]))
if old and string.sub(old, 1, 8) >= string.sub(ARGV[1], 1, 8) then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
return 1
"""
# Move the head forward, never back, and only within the generation it belongs to.
_FORWARD = """
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'revision')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2])
return 1
"""
# Give a shard its head, if the token of this filling is still there: an emptied server has lost it.
_BEGIN = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'revision', ARGV[3])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'slots', ARGV[4]) end
redis.call('DEL', KEYS[2])
return 1
"""


@dataclass(slots=True, eq=False)
class _Copy:
    """One shard, what its head said, and what went wrong there since."""

    shard: ShardClient
    generation: str = ""
    revision: int = -1
    slots: str = ""
    failure: Exception | None = None

    @property
    def redis(self) -> Redis:
        """The server."""
        return self.shard.redis

    def look(self) -> None:
        """Read the head."""
        found: list[Any] = self.redis.hmget(self.shard.feed.head, [GENERATION_FIELD, REVISION_FIELD, _SLOTS_FIELD])
        generation, revision, slots = ((value or b"").decode("ascii", "replace") for value in found)
        if generation and revision.isdigit():
            self.generation, self.revision, self.slots = generation, int(revision), slots


def catch_up(engine: Engine, redis: AnyRedis, *, fill: bool = True) -> int:
    """Bring Redis to the table's newest revision; fill what of it is empty. Returns that revision.

    Without `fill`, an empty Redis is left to somebody with more time: filling may take minutes. Raises Unavailable
    where either of the two, or any shard, does not answer, where another process is at it, where Redis was emptied
    meanwhile, and where it would have to be filled and may not; what is missing stays in the table, and the next call
    goes on from there. One shard that is away does not keep the others from being written.
    """
    with transaction(engine) as connection:
        card_table.lock_projector(connection)
        try:
            shards = layout(redis)
        except RedisError as error:
            raise Unavailable(_AWAY) from error
        return _Projector(connection, shards).run(fill=fill)


class _Projector:
    """One run over all shards. A shard on which anything fails is left out of the rest of it."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._copies = [_Copy(shard) for shard in layout.shards]
        self._of = {id(copy.shard): copy for copy in self._copies}
        self._unowned = False  # a card met has no shard, because no primary owns its slot just now

    @property
    def _live(self) -> list[_Copy]:
        return [copy for copy in self._copies if copy.failure is None]

    def run(self, *, fill: bool) -> int:
        """Look at every head, fill what is empty, then tell what is new since the oldest head."""
        self._each(self._copies, _Copy.look)
        newest = card_table.head(self._connection)
        generation = self._generation(newest)
        cleared = [copy for copy in self._live if copy.generation != generation or copy.revision > newest]
        grown = [copy for copy in self._live if copy not in cleared and copy.slots != copy.shard.slots]
        if (cleared or grown) and not fill:
            raise Unavailable(_TO_FILL)
        if cleared or grown:
            self._each(cleared, self._forget)
            self._fill([*cleared, *grown], generation, newest)
        self._follow(generation)
        self._complain()
        return max(newest, *(copy.revision for copy in self._copies))

    def _generation(self, newest: int) -> str:
        """The generation to go on with: the one that came furthest, or where no shard has any, a new one."""
        known = [(copy.revision, copy.generation) for copy in self._live if 0 <= copy.revision <= newest]
        return max(known)[1] if known else secrets.token_hex(8)

    def _each(
        self, copies: Iterable[_Copy], act: Callable[Concatenate[_Copy, P], object], *args: P.args, **named: P.kwargs
    ) -> None:
        """Do something on each of these shards; note where it fails."""
        for copy in copies:
            if copy.failure is None:
                try:
                    act(copy, *args, **named)
                except (RedisError, Unavailable) as failure:
                    copy.failure = failure

    def _complain(self) -> None:
        """Raise Unavailable unless every shard was brought up to date."""
        for copy in self._copies:
            if isinstance(copy.failure, Unavailable):
                raise copy.failure
            if copy.failure is not None:
                raise Unavailable(_AWAY) from copy.failure
        if self._unowned:
            raise Unavailable(_AWAY)

    def _split(self, cards: Iterable[Card], among: Sequence[_Copy]) -> Iterator[tuple[_Copy, list[Card]]]:
        """Cards by the shard they belong on, as far as it is one of these."""
        parts: dict[int, list[Card]] = {}
        for found in cards:
            shard = self._layout.of(redis_keys.location(found.key)[0])
            if shard is None:
                self._unowned = True
            else:
                parts.setdefault(id(shard), []).append(found)
        return ((copy, parts[id(copy.shard)]) for copy in among if id(copy.shard) in parts)

    # What is new --------------------------------------------------------------------------------------

    def _follow(self, generation: str) -> None:
        """Write what changed since the oldest head, chunk by chunk, each announced when it is everywhere."""
        revision = min((copy.revision for copy in self._live), default=0)
        while self._live and (cards := card_table.since(self._connection, revision, CHUNK)):
            for copy, part in self._split(cards, self._live):
                self._each([copy], self._write_new, part)
            revision = cards[-1].revision
            # The highest shard first: whoever reads a head on the lowest has it that the others are as far.
            self._each(reversed(self._live), _announce, generation, cards)

    def _write_new(self, copy: _Copy, cards: Sequence[Card]) -> None:
        self._write(copy, cards, self._unheard(copy, cards))

    def _unheard(self, copy: _Copy, cards: Sequence[Card]) -> list[int]:
        """Batches that Redis has never heard of and the database neither: nobody can have scanned their codes."""
        unheard = [
            number for number in _batches(cards) if not copy.redis.exists(redis_keys.location(batch_key(number))[0])
        ]
        return unscanned(self._connection, unheard)

    def _write(self, copy: _Copy, cards: Sequence[Card], complete: Iterable[int]) -> None:
        """Write cards, and mark those batches whose history is known to be empty."""
        _put(copy.redis, cards)
        for number in {int(found.key.split(":")[1]) for found in cards if found.key.startswith("x:")}:
            self._make_whole(copy.redis, number)
        pipeline = copy.redis.pipeline(transaction=False)
        for number in complete:
            pipeline.set(redis_keys.history_complete(number), 1)
        pipeline.execute()

    def _make_whole(self, redis: Redis, number: int) -> None:
        """See that the decisions about a batch's items are all there: without its mark the hash proves nothing."""
        key = redis_keys.exceptions(number)
        if redis.hexists(key, redis_keys.COMPLETE):
            return
        for chunk in card_table.items(self._connection, number):
            _put(redis, chunk)
        redis.hset(key, redis_keys.COMPLETE, 1)

    # What is empty ------------------------------------------------------------------------------------

    def _fill(self, copies: Sequence[_Copy], generation: str, newest: int) -> None:
        """Write everything that belongs on these shards; each begins only if it was not emptied on the way."""
        token = secrets.token_hex(8)
        self._each(copies, self._announce_filling, token)
        drained = self._drained()
        for chunk in card_table.everything(self._connection):
            for copy, part in self._split(chunk, copies):
                self._each([copy], self._write, part, unscanned(self._connection, _batches(part)) if drained else [])
        self._each(copies, self._begin, token, generation, newest)

    def _announce_filling(self, copy: _Copy, token: str) -> None:
        """Leave a token that only an emptied or evicting server loses.

        The head is about to leap over what the log does not name: so the log goes, and readers forget everything.
        """
        copy.redis.set(copy.shard.feed.build, token)
        copy.redis.delete(copy.shard.feed.log)
        if self._has_standings(copy):
            copy.redis.hset(redis_keys.STANDINGS, redis_keys.COMPLETE, token)

    def _begin(self, copy: _Copy, token: str, generation: str, newest: int) -> None:
        """Give a filled shard its head. Raises Unavailable where it lost the token meanwhile."""
        redis, feed = copy.redis, copy.shard.feed
        kept = True
        if self._has_standings(copy):  # their mark may have been evicted alone
            kept = redis.hget(redis_keys.STANDINGS, redis_keys.COMPLETE) == token.encode("ascii")
        begin = redis.register_script(_BEGIN)
        if not kept or not begin(keys=[feed.head, feed.build], args=[token, generation, newest, copy.shard.slots]):
            raise Unavailable(_EMPTIED)
        copy.generation, copy.revision, copy.slots = generation, newest, copy.shard.slots

    def _forget(self, copy: _Copy) -> None:
        """Take away what an unheaded projection left behind, but not the scans that wait to be drained."""
        feed = copy.shard.feed
        for key in (feed.head, feed.log, *([redis_keys.STANDINGS] if self._has_standings(copy) else [])):
            copy.redis.delete(key)  # one by one: on a cluster a call has keys of one slot
        for pattern in ("zp:{p:*", "zp:{b:*", "zp:{n:*"):
            pipeline = copy.redis.pipeline(transaction=False)
            for key in copy.redis.scan_iter(match=pattern, count=1000):
                pipeline.unlink(key)
                if len(pipeline) >= CHUNK:
                    pipeline.execute()
            pipeline.execute()

    def _has_standings(self, copy: _Copy) -> bool:
        return self._layout.of(redis_keys.STANDINGS) is copy.shard

    def _drained(self) -> bool:
        """Whether the database knows of every scan: then a batch without a history there has none."""
        shard = self._layout.of(redis_keys.SCANS)
        copy = None if shard is None else self._of[id(shard)]
        if copy is None or copy.failure is not None:
            return False
        try:
            return bool(copy.redis.xlen(redis_keys.SCANS) == 0)
        except RedisError as failure:
            copy.failure = failure
            return False


def _batches(cards: Iterable[Card]) -> list[int]:
    return [int(found.key[2:]) for found in cards if found.key.startswith("b:")]


def _put(redis: Redis, cards: Iterable[Card]) -> None:
    newer = redis.register_script(_NEWER)
    pipeline = redis.pipeline(transaction=False)
    for found in cards:
        key, field = redis_keys.location(found.key)
        newer(keys=[key], args=[redis_keys.pack(found.revision, found.body), field or ""], client=pipeline)
    pipeline.execute()


def _announce(copy: _Copy, generation: str, cards: Sequence[Card]) -> None:
    """Tell readers of a shard which cards changed, then that they did: log before head."""
    last = cards[-1].revision
    if copy.revision >= last:
        return  # it is another shard that fell behind
    names = "\n".join(found.key for found in cards)
    feed = copy.shard.feed
    copy.redis.xadd(feed.log, {"k": names}, id=f"{last}-*", maxlen=redis_keys.LOG_LENGTH, approximate=True)
    copy.redis.register_script(_FORWARD)(keys=[feed.head], args=[generation, last])
    copy.revision = last
