"""The visitor salts that the worker makes ahead."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Unavailable
from zpcode.projection import client, salts
from zpcode.wire import redis_keys

NOON = 20_000.5 * 86400


def numbered() -> Any:
    """Random bytes for tests: each call returns others."""
    numbers = itertools.count(1)
    return lambda length: next(numbers).to_bytes(length, "big")


@pytest.fixture
def authority(addresses: ServerAddresses, redis: Redis) -> Any:
    """Redis as the authority's account."""
    assert redis.dbsize() == 0
    with closing(Redis.from_url(addresses.redis)) as connected:
        yield connected


def test_the_salts_of_today_and_tomorrow_are_made_and_stay(authority: Any, redis: Any) -> None:
    random = numbered()
    assert salts.provide(authority, NOON, random) == 2
    before = [redis.get(f"zp:{{salts}}:{day}") for day in (20_000, 20_001)]
    assert len({*before}) == 2
    assert {len(salt) for salt in before} == {32}
    assert salts.provide(authority, NOON + 60, random) == 0
    assert salts.provide(authority, NOON + 86400, random) == 1, "the next day"
    assert [redis.get(f"zp:{{salts}}:{day}") for day in (20_000, 20_001)] == before


def test_a_salt_ends_with_its_day_and_never_lasts_longer_than_48_hours(authority: Any, redis: Any) -> None:
    midnight = 20_000 * 86400.0
    salts.provide(authority, midnight, numbered())
    assert 86400 * 2 - 60 < redis.ttl(redis_keys.salt(midnight + 86400)) <= 48 * 3600


@pytest.mark.parametrize("wrong", [b"", b"s" * 31, b"s" * 33, b"s" * 2**20])
def test_a_salt_of_another_length_is_replaced(authority: Any, redis: Any, wrong: bytes) -> None:
    redis.set(redis_keys.salt(NOON), wrong)
    assert salts.provide(authority, NOON, numbered()) == 2
    assert redis.strlen(redis_keys.salt(NOON)) == 32
    assert redis.ttl(redis_keys.salt(NOON)) > 0


def test_a_value_of_another_type_is_replaced(authority: Any, redis: Any) -> None:
    redis.rpush(redis_keys.salt(NOON), "x")
    assert salts.provide(authority, NOON, numbered()) == 2
    assert redis.strlen(redis_keys.salt(NOON)) == 32


def test_without_redis_it_is_tried_again_later() -> None:
    with closing(client.connect("unix:///nonexistent/valkey.sock")) as away, pytest.raises(Unavailable):
        salts.provide(away, NOON, numbered())
