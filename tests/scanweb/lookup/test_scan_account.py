"""What the scan account of Redis may write, wherever it may write it, never changes what the authority has decided."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from redis import Redis

from tests.support import scan_factories as make
from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card, redis_keys
from zpcode.wire.card import Standing, Timeline
from zpcode.wire.vocabulary import Bilingual, State

GOOD = Timeline((Standing(State.GOOD, 1),))
RECALLED = Timeline((Standing(State.RECALLED, 1, note=Bilingual("攻击者", "attacker")),))


def swallowing(timeline: Timeline, size: int, real: int) -> bytes:
    """A packed timeline of `size` bytes. Its unknown last member also takes the `real` bytes that follow it."""
    body = bytearray(msgspec.msgpack.encode(timeline))
    body[0] += 1  # one more member of the map
    body += b"\xa1z\xc5"
    body += (size - 8 - len(body) - 2 + real).to_bytes(2, "big")
    return redis_keys.pack(2**40, bytes(body)).ljust(size, b"\0")


def entries(timeline: Timeline, real: int) -> dict[str, bytes]:
    """Histories with a timeline inside them. `real` is the length of the item's own timeline in Redis."""
    whole = redis_keys.pack(2**40, msgspec.msgpack.encode(timeline))
    injected = swallowing(timeline, 256, real)
    return {
        "MessagePack, a city of 262 bytes": b"\x93\x01\x01\xda\x01\x06Ningbo" + injected,
        "MessagePack, a binary city": b"\x93\x01\x01\xc5\x01\x06Ningbo" + injected,
        "a length of 6 before 262 bytes": b"\0\0\0\1\0\0\0\1\6Ningbo" + injected,
        "a timeline behind the city": b"\0\0\0\1\0\0\0\1\6Ningbo" + whole,
        "a timeline for a city": b"\0\0\0\1\0\0\0\1" + bytes([len(whole)]) + whole,
    }


NAMES = list(entries(GOOD, 0))


@pytest.fixture
def scan(addresses: ServerAddresses) -> Iterator[Any]:
    with closing(Redis.from_url(addresses.scan_redis)) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_a_revoked_item_stays_revoked(service: ScanService, registry: ScanAuthority, scan: Any, name: str) -> None:
    registry.put({card.item_key(7, 5): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, field, entries(GOOD, _length(registry.redis, 7, 5))[name])
    scan.hset(bucket, redis_keys.COMPLETE, 1)
    assert service.verdict(registry.item(5)) == "revoked"


@pytest.mark.parametrize("name", NAMES)
def test_an_item_without_decisions_gets_none(
    service: ScanService, registry: ScanAuthority, scan: Any, name: str
) -> None:
    registry.put({card.item_key(7, 6): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, field, entries(RECALLED, 0)[name])
    scan.hset(bucket, redis_keys.COMPLETE, 1)
    page = service.get(registry.item(5)).text
    assert service.verdict(registry.item(5)) == "verified"
    assert "attacker" not in page


def _length(redis: Any, number: int, index: int) -> int:
    return len(redis.hget(redis_keys.exceptions(number), index))
