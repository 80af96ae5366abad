"""Copy the `card` table to Redis: after every commit, by the worker, and completely if Redis is empty.

Redis may be emptied, frozen or replaced at any moment, on a cluster each shard on its own. A shard without a head is
filled from the table. A shard that is behind gets all changes since the revision of its head. A head is advanced after
every card up to its revision is written to all shards that reply. So a shard whose head is older than another's has lost
writes, and readers do not use it (docs/adr/0006).

A projection never goes backwards: if a head is ahead of the database, the database is older than Redis, and nothing is
written until it was brought forward (docs/recovery.md). After that every shard is filled again.

Each run makes sure that every shard has the function library of the scan service; a shard gets it before its head.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, Final, ParamSpec

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from zpcode.errors import Text, Unavailable
from zpcode.projection import head_keys, heads, library, scripts
from zpcode.projection.client import AnyRedis, Layout, ShardClient, layout
from zpcode.projection.heads import ShardHead
from zpcode.projection.library import ServerState
from zpcode.rules.continuity import Marks
from zpcode.rules.head_key import HeadKey
from zpcode.store import cards as card_table
from zpcode.store import continuity
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.scans import unscanned
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key

P = ParamSpec("P")
CHUNK: Final = 500
_logger = logging.getLogger(__name__)
_AWAY: Final = Text(
    "缓存服务暂时无法访问，更改已保存，稍后自动同步",
    "Redis does not answer; the change is saved and will be copied automatically",
)
_EMPTIED: Final = Text("缓存服务刚刚被清空，稍后自动重建", "Redis was just emptied; it will be rebuilt automatically")
_TO_FILL: Final = Text(
    "缓存服务正待重建，更改已保存，稍后自动同步",
    "Redis has to be filled again; the change is saved and will be copied automatically",
)


@dataclass(slots=True, eq=False)
class _Shard:
    """One shard in one run: its head, and its failure if there was one.

    `state` is that of its server. `sealed` are the marks in the head as bytes, and `code` authenticates them. `forged`: another
    has written this head.
    """

    client: ShardClient
    generation: str = ""
    revision: int = -1
    slots: str = ""
    marks: Marks = field(default_factory=Marks)
    damage: str = ""
    sealed: bytes = b""
    code: bytes = b""
    forged: bool = False
    state: ServerState = field(default_factory=ServerState)
    failure: Exception | None = None

    @property
    def redis(self) -> Redis:
        """The server."""
        return self.client.redis

    def read_head(self) -> None:
        """Read the head, and the state of the server."""
        head = heads.read(self.client)
        self.generation, self.revision, self.slots, self.marks, self.damage, self.sealed, self.code = head
        self.state = library.state(self.client)

    def prepare(self) -> None:
        """Load the function library if the server does not have it, and note in the head whether the server evicts keys."""
        library.provide(self.redis, self.state.libraries)
        if self.revision >= 0:
            library.note(self.client, self.state)

    @property
    def head(self) -> ShardHead:
        """The head as it was read."""
        return ShardHead(self.generation, self.revision, self.slots, self.marks, self.damage, self.sealed, self.code)

    def distrust(self, newest: int) -> None:
        """Note that the head is forged. Beside a revision that can be, only the marks are replaced; otherwise the shard is filled."""
        self.forged = True
        if self.damage or not 0 <= self.revision <= newest:
            self.generation, self.revision = "", -1

    def delete_head(self) -> None:
        """Delete the head: the shard counts as empty."""
        self.redis.delete(self.client.feed.head)

    def is_sealed_with(self, key: HeadKey | None) -> bool:
        """Whether the marks have the code of this key; without a key nothing has to have one."""
        return key is None or key.made(self.sealed, self.code)


def catch_up(engine: Engine, redis: AnyRedis, *, fill: bool = True) -> int:
    """Copy all changes of the table to Redis, and fill empty shards. Returns the newest revision.

    Filling may take minutes; without `fill`, empty shards are left to the worker. Raises Unavailable if the database, Redis
    or any shard does not reply, if another process is copying, if Redis is emptied during the run, or if a shard is empty
    and `fill` is False. The table still has everything, and the next call continues. A failed shard does not prevent
    writing the others. Raises DatabaseBehind, before anything is written, if a head is ahead of the database.
    """
    with transaction(engine) as connection:
        continuity.require(connection)
        card_table.lock_projector(connection)
        try:
            shards = layout(redis)
        except RedisError as error:
            raise Unavailable(_AWAY) from error
        return _Projector(connection, shards).run(fill=fill)


class _Projector:
    """One run over all shards. A shard with a failure is left out of the rest of the run."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        self._connection, self._layout = connection, layout
        self._shards = [_Shard(shard) for shard in layout.shards]
        self._of = {id(shard.client): shard for shard in self._shards}
        self._marks = Marks()
        self._key: HeadKey | None = None
        self._unowned = False  # set if a card has no shard, because no primary owns its slot at the moment

    @property
    def _live(self) -> list[_Shard]:
        return [shard for shard in self._shards if shard.failure is None]

    def run(self, *, fill: bool) -> int:
        """Read all heads, fill empty shards, then write the changes since the oldest head."""
        self._each(self._shards, _Shard.read_head)
        database, forged = head_keys.require_not_ahead(self._connection, [shard.head for shard in self._live])
        self._marks = database.reached
        for shard in self._live:
            if shard.head in forged:
                shard.distrust(self._marks.revision)
        self._key = head_keys.begin(self._connection, database)
        self._each(self._shards, _Shard.prepare)
        newest = self._marks.revision
        generation = self._generation()
        cleared = [shard for shard in self._live if shard.generation != generation]
        grown = [shard for shard in self._live if shard not in cleared and shard.slots != shard.client.slots]
        if (cleared or grown) and not fill:
            raise Unavailable(_TO_FILL)
        self._mark([shard for shard in self._live if shard not in cleared], generation)
        if cleared or grown:
            empty = [shard for shard in cleared if shard.revision < 0]
            self._each(cleared, self._forget)
            self._fill([*cleared, *grown], generation, newest)
            if written := [shard for shard in empty if shard.failure is None]:
                _logger.info("Redis was empty; all its cards are written again", extra={"shards": len(written)})
        self._follow(generation)
        self._give_up_damaged()
        self._raise_failure()
        if all(shard.is_sealed_with(self._key) for shard in self._shards):
            head_keys.conclude(self._connection, self._key, database)
        return max(newest, *(shard.revision for shard in self._shards))

    def _generation(self) -> str:
        """The generation to continue: that of the shard with the newest head, or a new one if no shard has a head. A forged head
        counts only if there are no others.

        After a recovery of the database no generation is continued: Redis may have cards that the database lost.
        """
        recoveries = self._marks.recoveries
        heads = [
            (not shard.forged, shard.revision, shard.generation)
            for shard in self._live
            if shard.revision >= 0 and shard.marks.recoveries == recoveries
        ]
        return max(heads)[2] if heads else secrets.token_hex(8)

    def _each(
        self, shards: Iterable[_Shard], act: Callable[Concatenate[_Shard, P], object], *args: P.args, **named: P.kwargs
    ) -> None:
        """Call `act` for each of these shards without a failure; record failures."""
        for shard in shards:
            if shard.failure is None:
                try:
                    act(shard, *args, **named)
                except (RedisError, Unavailable) as failure:
                    shard.failure = failure

    def _give_up_damaged(self) -> None:
        """Take the head from a shard that refused a write because of what somebody put there: the next run fills it."""
        for shard in self._shards:
            if isinstance(shard.failure, ResponseError) and scripts.is_damage(shard.failure):
                _logger.error(
                    "Redis has a key that the authority has not written", extra={"problem": str(shard.failure)}
                )
                shard.failure = None
                self._each([shard], _Shard.delete_head)
                shard.failure = shard.failure or Unavailable(_TO_FILL)

    def _raise_failure(self) -> None:
        """Raise Unavailable unless every shard is up to date."""
        for shard in self._shards:
            if isinstance(shard.failure, Unavailable):
                raise shard.failure
            if shard.failure is not None:
                raise Unavailable(_AWAY) from shard.failure
        if self._unowned:
            raise Unavailable(_AWAY)

    def _split(self, cards: Iterable[Card], among: Sequence[_Shard]) -> Iterator[tuple[_Shard, list[Card]]]:
        """The cards by their shard, for the shards `among`."""
        parts: dict[int, list[Card]] = {}
        for card in cards:
            shard = self._layout.of(redis_keys.location(card.key)[0])
            if shard is None:
                self._unowned = True
            else:
                parts.setdefault(id(shard), []).append(card)
        return ((shard, parts[id(shard.client)]) for shard in among if id(shard.client) in parts)

    def _mark(self, shards: Iterable[_Shard], generation: str) -> None:
        """Write the marks of the database into the heads of these shards, with their code.

        The marks come before the cards. A projector that is killed in between leaves marks that are right, never a card that
        no mark covers: such a card in Redis is not the projector's.
        """
        outdated = [
            shard
            for shard in shards
            if shard.forged or shard.marks != self._marks or not shard.is_sealed_with(self._key)
        ]
        self._each(outdated, _mark, generation, self._marks, self._key)

    # Changes -----------------------------------------------------------------------------------------

    def _follow(self, generation: str) -> None:
        """Write the changes since the oldest head in chunks. A chunk is announced after it is written to all shards."""
        revision = min((shard.revision for shard in self._live), default=0)
        while self._live and (cards := card_table.since(self._connection, revision, CHUNK)):
            if cards[-1].revision > self._marks.revision:  # committed since the marks were read
                self._marks = continuity.marks(self._connection).reached
                self._mark(self._live, generation)
            for shard, part in self._split(cards, self._live):
                self._each([shard], self._write_new, part)
            revision = cards[-1].revision
            # The lowest shard is announced last: a reader of its head knows that the other shards are up to date.
            self._each(reversed(self._live), _announce, generation, cards)

    def _write_new(self, shard: _Shard, cards: Sequence[Card]) -> None:
        self._write(shard, cards, self._never_scanned(shard, cards))

    def _never_scanned(self, shard: _Shard, cards: Sequence[Card]) -> list[int]:
        """The new batches without any scan: neither Redis nor the database has anything of them."""
        new = [
            number for number in _batches(cards) if not shard.redis.exists(redis_keys.location(batch_key(number))[0])
        ]
        return unscanned(self._connection, new)

    def _write(self, shard: _Shard, cards: Sequence[Card], complete: Iterable[int]) -> None:
        """Write cards, and mark the batches `complete`, whose items were never scanned."""
        _put(shard.redis, cards)
        for number in {int(card.key.split(":")[1]) for card in cards if card.key.startswith("x:")}:
            self._complete_items(shard.redis, number)
        pipeline = shard.redis.pipeline(transaction=False)
        for number in complete:
            pipeline.set(redis_keys.history_complete(number), 1)
        pipeline.execute()

    def _complete_items(self, redis: Redis, number: int) -> None:
        """Write all item timelines of a batch unless the hash is marked as complete; then mark it."""
        key = redis_keys.exceptions(number)
        if redis.hexists(key, redis_keys.COMPLETE):
            return
        for chunk in card_table.items(self._connection, number):
            _put(redis, chunk)
        redis.hset(key, redis_keys.COMPLETE, 1)

    # Empty shards ------------------------------------------------------------------------------------

    def _fill(self, shards: Sequence[_Shard], generation: str, newest: int) -> None:
        """Write all cards of these shards; each gets its head only if it was not emptied meanwhile."""
        token = secrets.token_hex(8)
        self._each(shards, self._prepare_filling, token)
        drained = self._drained()
        for chunk in card_table.everything(self._connection):
            for shard, part in self._split(chunk, shards):
                self._each([shard], self._write, part, unscanned(self._connection, _batches(part)) if drained else [])
        self._each(shards, self._begin, token, generation, newest)

    def _prepare_filling(self, shard: _Shard, token: str) -> None:
        """Write a token, which the server loses only if it is emptied or evicts keys, and delete the log.

        The new head skips revisions that the log does not name. Without the log, readers forget all cards.
        """
        shard.redis.set(shard.client.feed.build, token)
        shard.redis.delete(shard.client.feed.log)
        if self._has_standings(shard):
            shard.redis.hset(redis_keys.STANDINGS, redis_keys.COMPLETE, token)

    def _begin(self, shard: _Shard, token: str, generation: str, newest: int) -> None:
        """Write the head of a filled shard. Raises Unavailable if the shard has lost the token."""
        redis, feed = shard.redis, shard.client.feed
        kept = True
        if self._has_standings(shard):  # the mark alone may have been evicted
            kept = redis.hget(redis_keys.STANDINGS, redis_keys.COMPLETE) == token.encode("ascii")
        begin = redis.register_script(scripts.BEGIN)
        sealed = heads.encode(self._marks)
        code = _code(self._key, sealed)
        args: list[bytes | str | int] = [token, generation, newest, shard.client.slots, sealed, code]
        args.append(shard.state.evicting)
        if not kept or not begin(keys=[feed.head, feed.build], args=args):
            raise Unavailable(_EMPTIED)
        shard.generation, shard.revision, shard.slots = generation, newest, shard.client.slots
        shard.marks, shard.sealed, shard.code, shard.forged = self._marks, sealed, code, False

    def _forget(self, shard: _Shard) -> None:
        """Delete everything of a projection without a head, but not the scans that wait to be drained.

        After a recovery of the database the histories stay: they have the scans that the database lost. After a forgery too.
        """
        recovered = shard.forged or (shard.revision >= 0 and shard.marks.recoveries != self._marks.recoveries)
        feed = shard.client.feed
        for key in (feed.head, feed.log, *([redis_keys.STANDINGS] if self._has_standings(shard) else [])):
            shard.redis.delete(key)  # one by one, because a command on a cluster may only have keys of one slot
        for pattern in ("zp:{p:*", "zp:{b:*", "zp:{n:*"):
            pipeline = shard.redis.pipeline(transaction=False)
            for key in shard.redis.scan_iter(match=pattern, count=1000):
                if not (recovered and redis_keys.is_history(key)):
                    pipeline.unlink(key)
                if len(pipeline) >= CHUNK:
                    pipeline.execute()
            pipeline.execute()

    def _has_standings(self, shard: _Shard) -> bool:
        return self._layout.of(redis_keys.STANDINGS) is shard.client

    def _drained(self) -> bool:
        """Whether the database has all scans; then a batch without a history there was never scanned."""
        client = self._layout.of(redis_keys.SCANS)
        shard = None if client is None else self._of[id(client)]
        if shard is None or shard.failure is not None:
            return False
        try:
            return not shard.redis.exists(redis_keys.INBOX) and shard.redis.xlen(redis_keys.SCANS) == 0
        except RedisError as failure:
            shard.failure = failure
            return False


def _batches(cards: Iterable[Card]) -> list[int]:
    return [int(card.key[2:]) for card in cards if card.key.startswith("b:")]


def _put(redis: Redis, cards: Iterable[Card]) -> None:
    newer = redis.register_script(scripts.NEWER)
    pipeline = redis.pipeline(transaction=False)
    for card in cards:
        key, field = redis_keys.location(card.key)
        newer(keys=[key], args=[redis_keys.pack(card.revision, card.body), field or ""], client=pipeline)
    pipeline.execute()


def _announce(shard: _Shard, generation: str, cards: Sequence[Card]) -> None:
    """Append the changed cards to the log of a shard, then advance its head."""
    last = cards[-1].revision
    if shard.revision >= last:
        return  # this shard is up to date; another one is behind
    names = "\n".join(card.key for card in cards)
    feed = shard.client.feed
    shard.redis.xadd(feed.log, {"k": names}, id=f"{last}-*", maxlen=redis_keys.LOG_LENGTH, approximate=True)
    shard.redis.register_script(scripts.FORWARD)(keys=[feed.head], args=[generation, last])
    shard.revision = last


def _mark(shard: _Shard, generation: str, marks: Marks, key: HeadKey | None) -> None:
    """Write the marks of the database into the head of a shard, with their code."""
    script = shard.redis.register_script(scripts.MARK)
    sealed = heads.encode(marks)
    code = _code(key, sealed)
    replaced = shard.sealed if shard.forged else b""
    if script(keys=[shard.client.feed.head], args=[generation, sealed, marks.audit, code, replaced]):
        shard.sealed, shard.code, shard.forged = sealed, code, False
    shard.marks = marks


def _code(key: HeadKey | None, sealed: bytes) -> bytes:
    return b"" if key is None else key.code(sealed)
