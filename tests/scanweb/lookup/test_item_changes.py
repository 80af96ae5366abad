"""The first decision about an item of a batch is projected while a scan's query for that item waits or runs."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec
import pytest

from keys.keyring import SealVerdict
from scanweb.lookup.cards import ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.memory import CardEntry, Memory, decode_entry
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
        if commands[-1][0] == "EVALSHA" and self._meanwhile:
            self._meanwhile.pop()()
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        if command[1] == redis_keys.HEAD:
            return [b"g", b"6"]
        if command[1] == redis_keys.LOG:
            return [(b"5-0", [b"k", b"p:1"]), (b"6-0", [b"k", f"{BATCH}\n{ITEM}".encode()])]
        if command[0] == "GET":
            return packed(BATCH)
        own = command[-1] != b""
        return [struct.pack(">BIIB", 3 if own else 2, 1, 1, 0) + (packed(ITEM) if own else b"")]


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
    return RedisReader(cast("RedisClient", redis), memory, ScanBuffer(10), wake=lambda: None, limit=2, stream=1000)


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
