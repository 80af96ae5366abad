"""The comparison on a Valkey Cluster of three primaries: a lost card is noticed on every shard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from sqlalchemy import Engine

from tests.support.code_folders import code_folder
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.errors import KeyringError, Text
from zpcode.projection import client, projector
from zpcode.projection.client import AnyRedis
from zpcode.projection.comparison import ProjectionComparison
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import InvariantState
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys

CARDS = {f"p:{number:014d}": b"product" for number in range(40)} | {
    "s:enterprise:X": b"standing",
    "b:7": b"batch",
    "x:7:1": b"item",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """Three primaries without replicas."""
    with EmbeddedCluster(tmp_path_factory.mktemp("cluster"), timeout_ms=1000) as running:
        yield running


@pytest.fixture
def redis(cluster: EmbeddedCluster, engine: Engine) -> Iterator[AnyRedis]:
    """The cluster with all cards, as the authority sees it."""
    with closing(client.connect(cluster.addresses.redis, seconds=2)) as connected:
        with transaction(engine) as connection:
            cards.put_cards(connection, CARDS)
        projector.catch_up(engine, connected)
        yield connected


def _at(redis: AnyRedis, key: str) -> tuple[client.ShardClient, str, str | None]:
    where, name = redis_keys.location(key)
    shard = client.layout(redis).of(where)
    assert shard is not None
    return shard, where, name


def _lose(redis: AnyRedis, key: str) -> None:
    shard, where, name = _at(redis, key)
    assert (shard.redis.delete(where) if name is None else shard.redis.hdel(where, name)) == 1


def test_what_any_shard_lacks_or_has_too_many_is_repaired(engine: Engine, redis: AnyRedis, tmp_path: Path) -> None:
    """Lost cards of all three shards, one of each kind of key, and one extra card."""
    lost = ["p:00000000000000", "p:00000000000001", "p:00000000000002", "s:enterprise:X", "x:7:1"]
    assert len({id(_at(redis, key)[0].redis) for key in lost}) == 3
    for key in lost:
        _lose(redis, key)
    shard, where, _ = _at(redis, "p:99999999999999")
    shard.redis.set(where, redis_keys.pack(1, b"x"))
    context = CheckContext(engine, redis, code_folder(tmp_path), _no_keyring, datetime.now(UTC), patience=0)
    outcome = run.check(context, only=["projection"]).of("projection")
    assert {finding.where for finding in outcome.findings} == {*lost, "p:99999999999999"}
    round_ = ProjectionComparison(engine, redis, 60)
    while round_.rounds == 0:
        round_.step()
    assert round_.by_kind == {"missing": len(lost), "stray": 1}
    assert round_.repaired == round_.wrong
    report = run.check(context, only=["projection-head", "projection", "card-head"])
    assert [outcome.state for outcome in report.outcomes] == [InvariantState.HOLDS] * 3
    assert report.of("projection-head").examined == 3


def _no_keyring() -> NoReturn:
    raise KeyringError(Text("用不着", "not needed"))
