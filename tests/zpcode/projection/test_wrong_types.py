"""A key of another type, or a log that ends at the last id, keeps no decision out of Redis for longer than one run."""

from __future__ import annotations

import contextlib
from datetime import datetime

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.registry_data import uscc
from tests.support.status_setting import (
    OPERATOR,
    EnterpriseBatches,
    ask,
    decided,
    furnished,
    in_database,
    in_redis,
    world,
)
from zpcode.errors import Unavailable
from zpcode.projection import projector
from zpcode.rules.status.decisions import Action
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key, item_key
from zpcode.wire.vocabulary import Scope

__all__ = ["furnished", "world"]

LAST_ID = "18446744073709551615-18446744073709551615"


def damage(redis: Redis, key: str, kind: str) -> None:
    """Put something else under a key."""
    redis.delete(key)
    if kind == "list":
        redis.rpush(key, b"x")
    else:
        redis.xadd(key, {"k": "x"}, id=LAST_ID)


@pytest.mark.parametrize("kind", ["list", "stream"])
@pytest.mark.parametrize("place", ["log", "items", "batch", "standings"])
def test_a_revocation_reaches_redis_whatever_lies_in_its_way(
    engine: Engine, redis: Redis, world: EnterpriseBatches, now: datetime, place: str, kind: str
) -> None:
    items = [f"{world.item}:{index}" for index in (3, 4)]
    decided(engine, OPERATOR, now, ask(Scope.CODE, items[0], Action.REVOKE))
    projector.catch_up(engine, redis)
    key = {
        "log": redis_keys.LOG,
        "items": redis_keys.exceptions(world.item),
        "batch": redis_keys.location(batch_key(world.item))[0],
        "standings": redis_keys.STANDINGS,
    }[place]
    damage(redis, key, kind)
    decided(
        engine, OPERATOR, now,
        ask(Scope.CODE, items[1], Action.REVOKE),
        ask(Scope.BATCH, world.item, Action.RECALL),
        ask(Scope.ENTERPRISE, uscc(1), Action.FLAG),
    )  # fmt: skip
    for _ in range(2):
        with contextlib.suppress(Unavailable):
            projector.catch_up(engine, redis)
    projector.catch_up(engine, redis)
    for card in (item_key(world.item, 3), item_key(world.item, 4), batch_key(world.item)):
        assert in_redis(redis)(card) == in_database(engine)(card) is not None
    assert redis.hexists(redis_keys.STANDINGS, redis_keys.COMPLETE)
