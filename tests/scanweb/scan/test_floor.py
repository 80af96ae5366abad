"""The lowest revision that a process accepts; older cards are not remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from keys.keyring import SealVerdict
from scanweb.lookup.cards import ScanRequest
from scanweb.lookup.lookup import Lookup
from scanweb.lookup.memory import CardRow, Memory, Rows
from scanweb.lookup.seals import CheckedCode
from tests.support import scan_factories as make
from zpcode.wire.card import product_key
from zpcode.wire.payload import Code, Identity, Seal

KEY = product_key(make.GTIN)
CODE = CheckedCode.of(Code(Identity(make.GTIN), Seal("ABCD", bytes(64))), SealVerdict.VALID, Identity(make.GTIN).path)


def test_the_floor_outlasts_an_emptied_redis_and_sinks_only_with_a_generation_never_met() -> None:
    memory = Memory(10)
    memory.believe("a", 7, {})
    memory.raise_floor(9)
    memory.clear()
    assert memory.floor == 9
    assert memory.behind("a", 8)
    assert not memory.behind("a", 9)
    assert not memory.behind("b", 3), "a database restored from a backup"
    memory.believe("b", 3, {})
    assert memory.floor == 3
    assert memory.behind("a", 100), "a replica from before the rebuild"
    assert not memory.behind("b", 3)


class OutdatedDatabase:
    """A database read at revision 5; `meanwhile` happens before the result arrives."""

    deadline = 1.0

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile

    async def read(self, keys: Sequence[str], *, behind: bool = False) -> Rows:
        """The product, and nothing else."""
        assert not behind
        self._meanwhile()
        product = CardRow(KEY, 5, msgspec.msgpack.encode(make.product()))
        return Rows([(key, product) for key in keys if key == KEY], 5)


def remembered(at: int) -> bool:
    """Whether a card read at revision 5 is remembered by a process that has followed the database to `at` meanwhile."""
    memory = Memory(10)
    memory.follow(4, {}, time.monotonic())
    database = OutdatedDatabase(lambda: memory.follow(at, {}, time.monotonic()))
    lookup = Lookup(memory, cast("Any", None), database)
    result = asyncio.run(lookup.find(CODE, ScanRequest(int(time.time()))))
    assert result.confirmed
    return memory.get(KEY) is not None


def test_what_was_read_before_the_revision_that_memory_stands_at_is_not_remembered() -> None:
    """It might be the card from before a revocation, and no later change would remove it."""
    assert remembered(4)
    assert remembered(5)
    assert not remembered(6)
