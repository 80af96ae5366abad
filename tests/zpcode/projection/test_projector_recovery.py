"""After a recovery of the database every card is written again; the histories stay, for the database may have lost scans."""

from __future__ import annotations

import logging
from datetime import datetime

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.status_setting import EnterpriseBatches, furnished, in_redis, world
from zpcode.projection import projector
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key

__all__ = ["furnished", "world"]


def test_a_recovery_keeps_the_histories(engine: Engine, redis: Redis, world: EnterpriseBatches, now: datetime) -> None:
    projector.catch_up(engine, redis)
    bucket, field = redis_keys.history(world.item, 3)
    redis.hset(bucket, field, b"a history")
    redis.set(redis_keys.location(batch_key(999))[0], b"a card that the database lost")
    complete = redis.exists(redis_keys.history_complete(world.item))
    with transaction(engine) as connection:
        continuity.add_recovery(connection, at=now, actor="test", audit_id=1, taken_in={})
    projector.catch_up(engine, redis)
    assert redis.hget(bucket, field) == b"a history"
    assert redis.exists(redis_keys.history_complete(world.item)) == complete
    assert in_redis(redis)(batch_key(999)) is None


def test_a_projection_without_a_head_loses_them(engine: Engine, redis: Redis, world: EnterpriseBatches) -> None:
    """What else it has lost is unknown; the database has the scans."""
    projector.catch_up(engine, redis)
    bucket, field = redis_keys.history(world.item, 3)
    redis.hset(bucket, field, b"a history")
    redis.delete(redis_keys.HEAD)
    projector.catch_up(engine, redis)
    assert redis.hget(bucket, field) is None


def test_one_line_of_the_log_says_that_redis_was_empty(
    engine: Engine, redis: Redis, world: EnterpriseBatches, caplog: pytest.LogCaptureFixture
) -> None:
    assert world
    caplog.set_level(logging.INFO)
    projector.catch_up(engine, redis)
    projector.catch_up(engine, redis)
    redis.flushall()
    projector.catch_up(engine, redis)
    projector.catch_up(engine, redis)
    assert [record.message for record in caplog.records if "empty" in record.message] == [
        "Redis was empty; all its cards are written again"
    ] * 2
