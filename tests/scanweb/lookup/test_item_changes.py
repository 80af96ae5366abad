"""The first decision about an item of a batch is projected while a scan's query for that item waits or runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import pytest

from keys.keyring import SealVerdict
from scanweb.lookup.cards import ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.memory import CardEntry, CardRow, Memory, Rows, decode_entry
from scanweb.lookup.redis_reader import RedisQuery, RedisReader
from scanweb.lookup.seals import CheckedCode
from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Command
from scanweb.visits.buffer import ScanBuffer
from tests.support import scan_factories as make
from tests.support.unavailable_database import UnavailableDatabase
from zpcode.errors import Unavailable
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key, item_key, product_key
from zpcode.wire.payload import Code, Seal
from zpcode.wire.vocabulary import Scope, State

BATCH, ITEM, PRODUCT = batch_key(7), item_key(7, 0), product_key(make.GTIN)
IDENTITY: Final = make.item_identity(0)
CODE: Final = CheckedCode.of(Code(IDENTITY, Seal("ABCD", bytes(64))), SealVerdict.VALID, IDENTITY.path)
CARDS: Final[Mapping[str, msgspec.Struct]] = {
    PRODUCT: make.product(),
    BATCH: make.batch(exceptions=True),
    ITEM: make.standing(State.REVOKED),
}


def packed(key: str) -> bytes:
    return redis_keys.pack(6, msgspec.msgpack.encode(CARDS[key]))


class ChangedRedis:
    """A Redis at revision 6, which revoked item 0 of batch 7. `meanwhile` happens before its first reply about the item."""

    cluster, seconds = False, 1.0

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = [meanwhile]

    def reaches(self, key: str) -> bool:
        """Always."""
        return bool(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """As the server would."""
        await asyncio.sleep(0)
        if commands[-1][0] == "FCALL" and self._meanwhile:
            self._meanwhile.pop()()
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        if command[1] == redis_keys.HEAD:
            return [b"g", b"6", b"0"]
        if command[1] == redis_keys.LOG:
            return [(b"5-0", [b"k", b"p:1"]), (b"6-0", [b"k", f"{BATCH}\n{ITEM}".encode()])]
        if command[0] == "GET":
            return packed(BATCH)
        own = command[-1] != b""
        return [3 if own else 2, 1, 1, b"", packed(ITEM) if own else None]


def memory_before() -> Memory:
    """The memory of a process at revision 5: no item of the batch has a decision."""
    memory = Memory(100)
    memory.believe("g", 5, {})
    batch = msgspec.msgpack.encode(make.batch())
    memory.put(BATCH, decode_entry(BATCH, 1, batch))
    memory.put(PRODUCT, decode_entry(PRODUCT, 1, msgspec.msgpack.encode(CARDS[PRODUCT])))
    needed = [make.s(scope, target) for scope, target in make.product().standing_keys()]
    for key in (*needed, make.s(Scope.LOT, f"{make.GTIN}:L2026"), make.s(Scope.KEY, "ABCD")):
        memory.put(key, CardEntry(None, 0))
    return memory


def reader(redis: object, memory: Memory) -> RedisReader:
    return RedisReader(cast("RedisClient", redis), memory, ScanBuffer(10), wake=lambda: None, limit=2, inbox=1000)


@pytest.mark.parametrize("under_way", [True, False])
def test_the_item_is_read_again_where_another_round_trip_brought_a_new_batch_card_meanwhile(*, under_way: bool) -> None:
    """The query was made with the old card, in which no item has a timeline: the reply has none."""
    memory = memory_before()

    def advanced() -> None:
        memory.advance(6, {BATCH, ITEM})

    async def scan() -> list[State]:
        redis = ChangedRedis(advanced if under_way else lambda: None)
        lookup = Lookup(memory, reader(redis, memory), UnavailableDatabase())
        scanning = asyncio.create_task(lookup.find(CODE, ScanRequest(int(time.time()))))
        await asyncio.sleep(0)
        if not under_way:
            advanced()
        result = await scanning
        assert result.confirmed
        standing = None if result.own is None else result.own.at(int(time.time()))
        return [] if standing is None else [standing.state]

    assert asyncio.run(scan()) == [State.REVOKED]


class SlowRedis:
    """A Redis at revision 5, then 6: the item of batch 7 was good and is revoked.

    Its first reply to a scan is from revision 5 and arrives after another round trip has read revision 6.
    """

    cluster, seconds = False, 1.0

    def __init__(self) -> None:
        self.revision = 5
        self.first_may_arrive = asyncio.Event()

    def reaches(self, key: str) -> bool:
        """Always."""
        return bool(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """As the server would: the revision is the one at which the commands arrive."""
        replies = [self._reply(command, self.revision) for command in commands]
        if commands[-1][0] == "FCALL" and self.revision == 5:
            await self.first_may_arrive.wait()
        return replies

    def _reply(self, command: Command, revision: int) -> Any:
        if command[1] == redis_keys.HEAD:
            return [b"g", b"%d" % revision]
        if command[1] == redis_keys.LOG:
            return [(b"5-0", [b"k", b"p:1"]), (b"6-0", [b"k", ITEM.encode()])]
        return [3, 1, 1, b"", packed(ITEM) if revision == 6 else None]


def test_an_item_reply_from_before_the_head_that_another_round_trip_read_is_not_used() -> None:
    """The batch card is the same before and after: only the head says that the item was read too early."""
    memory = memory_before()
    memory.put(BATCH, decode_entry(BATCH, 5, msgspec.msgpack.encode(CARDS[BATCH])))

    async def scan() -> State | None:
        redis = SlowRedis()
        redis_reader = reader(redis, memory)
        scanning = asyncio.create_task(
            Lookup(memory, redis_reader, UnavailableDatabase()).find(CODE, ScanRequest(int(time.time())))
        )
        for _ in range(5):
            await asyncio.sleep(0)
        redis.revision = 6
        await redis_reader.query(RedisQuery())
        assert memory.revision == 6
        redis.first_may_arrive.set()
        result = await scanning
        assert result.confirmed
        standing = None if result.own is None else result.own.at(int(time.time()))
        return None if standing is None else standing.state

    assert asyncio.run(scan()) is State.REVOKED


class ForgetfulRedis:
    """A Redis that has lost the card of batch 7. The batch changed at revision 6."""

    cluster, seconds = False, 1.0

    def __init__(self) -> None:
        self.revision = 5

    def reaches(self, key: str) -> bool:
        """Always."""
        return bool(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """As the server would."""
        await asyncio.sleep(0)
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        if command[1] == redis_keys.HEAD:
            return [b"g", b"%d" % self.revision]
        if command[1] == redis_keys.LOG:
            return [(b"5-0", [b"k", b"p:1"]), (b"6-0", [b"k", BATCH.encode()])]
        return None if command[0] == "GET" else [3, 1, 1, b"", None]


class SlowDatabase(UnavailableDatabase):
    """Reads the batch card at revision 5 for the first query, whose reply arrives late; then at revision 6."""

    def __init__(self) -> None:
        self.asked, self.first_may_arrive = asyncio.Event(), asyncio.Event()

    async def read(self, keys: Sequence[str], *, behind: bool = False) -> Rows:
        """The card of the batch."""
        assert (list(keys), behind) == ([BATCH], False)
        if not self.asked.is_set():
            self.asked.set()
            await self.first_may_arrive.wait()
            return Rows([(BATCH, CardRow(BATCH, 5, msgspec.msgpack.encode(make.batch())))], 5)
        return Rows([(BATCH, CardRow(BATCH, 6, msgspec.msgpack.encode(make.batch(exceptions=True))))], 6)


def test_a_card_that_the_database_had_before_a_change_is_not_remembered_after_it() -> None:
    """Otherwise a process would show a revoked batch as good until the card changes again."""
    memory = memory_before()
    memory.drop([BATCH])

    async def scan() -> None:
        redis, database = ForgetfulRedis(), SlowDatabase()
        redis_reader = reader(redis, memory)
        scanning = asyncio.create_task(Lookup(memory, redis_reader, database).find(CODE, ScanRequest(int(time.time()))))
        await database.asked.wait()
        redis.revision = 6
        await redis_reader.query(RedisQuery())
        assert memory.revision == 6
        database.first_may_arrive.set()
        result = await scanning
        assert result.confirmed
        assert result.cards.batch == make.batch(exceptions=True)

    asyncio.run(scan())
    entry = memory.get(BATCH)
    assert entry is not None
    assert entry.revision == 6


class EmptiedRedis:
    """An emptied Redis. Each round trip waits for the test."""

    cluster, seconds = False, 1.0

    def __init__(self) -> None:
        self.waiting: list[asyncio.Event] = []

    def reaches(self, key: str) -> bool:
        """Always."""
        return bool(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """No value under any key."""
        self.waiting.append(asyncio.Event())
        await self.waiting[-1].wait()
        return [[None, None] for _ in commands]


def test_a_late_reply_of_an_emptied_redis_does_not_clear_the_memory_that_follows_the_database_since() -> None:
    memory, redis = memory_before(), EmptiedRedis()

    async def scans() -> None:
        redis_reader = reader(redis, memory)
        queries = []
        for _ in range(2):
            queries.append(redis_reader.query(RedisQuery()))
            await asyncio.sleep(0.01)
        redis.waiting[0].set()
        with pytest.raises(Unavailable):
            await queries[0]
        assert memory.get(BATCH) is None
        memory.follow(6, {}, time.monotonic())
        memory.put(BATCH, CardEntry(make.batch(), 6))
        redis.waiting[1].set()
        with pytest.raises(Unavailable):
            await queries[1]

    asyncio.run(scans())
    assert memory.get(BATCH) is not None
    assert memory.fresh(time.monotonic())
