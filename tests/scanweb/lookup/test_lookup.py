"""A scan whose round trip is under way while memory changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

import msgspec

from keys.keyring import SealVerdict
from scanweb.lookup.cards import LookupResult, ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.memory import CardEntry, Memory, decode_entry
from scanweb.lookup.redis_reader import RedisReader
from scanweb.lookup.seals import CheckedCode
from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Command
from scanweb.visits.buffer import ScanBuffer
from tests.support import scan_factories as make
from tests.support.unavailable_database import UnavailableDatabase
from zpcode.wire import redis_keys
from zpcode.wire.card import product_key
from zpcode.wire.payload import Code, Identity, Seal
from zpcode.wire.vocabulary import Scope, State

PRODUCT: Final = make.product()
DECIDED: Final = make.s(Scope.PRODUCT, make.GTIN)
REVOKED: Final = msgspec.msgpack.encode(make.standing(State.REVOKED))
CODE: Final = CheckedCode.of(
    Code(Identity(make.GTIN), Seal("ABCD", bytes(64))), SealVerdict.VALID, Identity(make.GTIN).path
)  # fmt: skip


class Revoked:
    """A Redis at revision 6, in which the product is revoked. `meanwhile` happens before it answers `to`."""

    cluster, seconds = False, 1.0

    def __init__(self, to: str, meanwhile: Callable[[], None]) -> None:
        self._to, self._meanwhile = to, meanwhile

    def reaches(self, key: str) -> bool:
        """Always."""
        return bool(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """As the server would."""
        await asyncio.sleep(0)
        if any(self._to in command for command in commands):
            self._to = "never again"
            self._meanwhile()
        return [self._reply(command) for command in commands]

    def _reply(self, command: Command) -> Any:
        if command[1] == redis_keys.HEAD:
            return [b"g", b"6"]
        if command[1] == redis_keys.LOG:
            return [(b"5-0", [b"k", b"b:1"]), (b"6-0", [b"k", DECIDED.encode()])]
        if command[1] != redis_keys.STANDINGS:
            return None
        return [b"1", *(redis_keys.pack(6, REVOKED) if f"s:{name!s}" == DECIDED else None for name in command[3:])]


def _scanned(to: str, meanwhile: Callable[[Memory], None]) -> LookupResult:
    """The lookup of the product's code by a process at revision 5."""
    memory = Memory(100)
    memory.believe("g", 5, {})
    memory.put(product_key(make.GTIN), decode_entry(product_key(make.GTIN), 1, msgspec.msgpack.encode(PRODUCT)))
    standings = [*CODE.keys, *(make.s(scope, target) for scope, target in PRODUCT.standing_keys())]
    for key in standings:
        if key.startswith("s:"):
            memory.put(key, CardEntry(None, 0))

    async def scan() -> LookupResult:
        redis = cast("RedisClient", Revoked(to, lambda: meanwhile(memory)))
        reader = RedisReader(redis, memory, ScanBuffer(10), wake=lambda: None, limit=2, inbox=1000)
        finding: Awaitable[LookupResult] = Lookup(memory, reader, UnavailableDatabase()).find(
            CODE, ScanRequest(int(time.time()))
        )
        return await finding

    return asyncio.run(scan())


def _states(result: LookupResult) -> list[State]:
    standings = [timeline.at(int(time.time())) for _, timeline in result.cards.timelines]
    return [standing.state for standing in standings if standing is not None]


def test_a_revocation_shows_though_another_round_trip_failed_and_redis_was_compared_again_meanwhile() -> None:
    def doubted_and_believed(memory: Memory) -> None:
        memory.doubt()
        memory.believe("g", 6, {})

    for to in (redis_keys.HEAD, redis_keys.LOG):
        result = _scanned(to, doubted_and_believed)
        assert (result.confirmed, _states(result)) == (True, [State.REVOKED]), to


def test_cards_from_before_a_change_are_not_confirmed_where_redis_is_doubted_while_its_log_is_read() -> None:
    assert not _scanned(redis_keys.LOG, Memory.doubt).confirmed
