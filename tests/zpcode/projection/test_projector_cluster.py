"""The authority on a Valkey Cluster of three primaries: every shard is written, announced to and filled separately."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text

from keys.client import SignerClient
from scanweb.lookup.redis_reader import changed_keys
from tests.support.patience import eventually
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.errors import Unavailable
from zpcode.projection import client as redis_client
from zpcode.projection import library, projector
from zpcode.services import scans
from zpcode.services.monitoring import readiness
from zpcode.store import cards as outbox
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.functions.library import LIBRARY
from zpcode.wire.redis_cluster import slot_of
from zpcode.wire.scan_event import ScanEvent, encode

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
_NOBODY = SignerClient(Path("/nonexistent/signer.sock"))
PRODUCTS = {f"p:{number:014d}": b"product" for number in range(60)}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """Three primaries without replicas."""
    with EmbeddedCluster(tmp_path_factory.mktemp("cluster"), timeout_ms=1000) as running:
        yield running


@pytest.fixture
def cluster(nodes: EmbeddedCluster) -> EmbeddedCluster:
    """The same, emptied."""
    for number in range(3):
        nodes.client(number).flushall()
    return nodes


@pytest.fixture
def redis(cluster: EmbeddedCluster) -> Iterator[redis_client.AnyRedis]:
    """A client of the cluster with the authority's role. Its timeout is long because a busy machine may stall."""
    with closing(redis_client.connect(cluster.addresses.redis, seconds=2)) as connected:
        yield connected


@pytest.fixture
def filled(engine: Engine, redis: redis_client.AnyRedis) -> redis_client.AnyRedis:
    """Sixty products on three shards, at revision 60."""
    put(engine, PRODUCTS)
    assert projector.catch_up(engine, redis) == 60
    return redis


def put(engine: Engine, cards: dict[str, bytes]) -> None:
    with transaction(engine) as connection:
        outbox.put_cards(connection, cards)


def heads(cluster: EmbeddedCluster) -> list[tuple[str, int] | None]:
    """What each node's own head says."""
    by_shard: list[tuple[str, int] | None] = []
    for number in range(3):
        generation, revision = at(cluster, number).hmget(feed(number).head, ["generation", "revision"])
        by_shard.append((generation.decode(), int(revision)) if generation and revision else None)
    return by_shard


def feed(number: int) -> redis_keys.Feed:
    return redis_keys.feed(16384 * number // 3)


def at(cluster: EmbeddedCluster, number: int) -> Any:
    return cluster.client(number)


def cards(cluster: EmbeddedCluster, number: int) -> dict[str, bytes]:
    """The product cards one node holds, by Redis key."""
    client: Redis = cluster.client(number)
    return {key.decode(): client.get(key) or b"" for key in client.scan_iter(match="zp:{p:*")}  # type: ignore[misc]


def test_every_card_is_on_its_shard_and_every_shard_says_how_far_it_is(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    put(engine, {"p:00000000000001": b"changed", "b:7": b"batch", "s:product:1": b"standing", "x:7:3": b"item"})
    assert projector.catch_up(engine, filled) == 64
    by_shard = [cards(cluster, number) for number in range(3)]
    assert sum(map(len, by_shard)) == 60
    assert all(len(keys) > 5 for keys in by_shard)
    for number, keys in enumerate(by_shard):
        assert {slot_of(key) * 3 // 16384 for key in keys} == {number}
    assert len({head for head in heads(cluster) if head}) == 1
    assert [head and head[1] for head in heads(cluster)] == [64] * 3
    logs = [at(cluster, number).xrange(feed(number).log) for number in range(3)]
    assert logs[0] == logs[1] == logs[2]
    assert set(logs[0][0][1][b"k"].decode().split("\n")) == {"p:00000000000001", "b:7", "s:product:1", "x:7:3"}
    key = redis_keys.exceptions(7)
    assert at(cluster, cluster.holder(key)).hkeys(key) == [b"3", b"_"]


def test_every_shard_has_the_function_library_and_gets_it_again_when_it_lost_everything(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    def libraries() -> list[frozenset[str]]:
        return [library.names(at(cluster, number).function_list()) for number in range(3)]

    assert libraries() == [{LIBRARY}] * 3
    assert [at(cluster, number).hget(feed(number).head, "evicting") for number in range(3)] == [b"0"] * 3
    at(cluster, 1).flushall()
    at(cluster, 1).function_flush()
    projector.catch_up(engine, filled)
    assert libraries() == [{LIBRARY}] * 3


def test_a_shard_that_was_emptied_is_filled_alone(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    before = heads(cluster)
    lost = cards(cluster, 1)
    at(cluster, 1).flushall()
    at(cluster, 0).delete(next(iter(cards(cluster, 0))))  # would come back if this shard were written again, too
    assert projector.catch_up(engine, filled) == 60
    assert heads(cluster) == before
    assert cards(cluster, 1) == lost
    assert sum(len(cards(cluster, number)) for number in range(3)) == 59


def test_a_shard_that_lost_its_last_writes_gets_them_again(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    """A replica without the last changes was promoted: card, log and head are as before."""
    gtin = next(key for key in PRODUCTS if cluster.holder(redis_keys.location(key)[0]) == 2)
    where = redis_keys.location(gtin)[0]
    old = {key: at(cluster, 2).dump(key) for key in (where, feed(2).head)}
    put(engine, {gtin: b"revoked"})
    projector.catch_up(engine, filled)
    for key, value in old.items():
        at(cluster, 2).restore(key, 0, value, replace=True)
    at(cluster, 2).delete(feed(2).log)
    assert projector.catch_up(engine, filled) == 61
    assert at(cluster, 2).get(where) == redis_keys.pack(61, b"revoked")
    assert [head and head[1] for head in heads(cluster)] == [61] * 3
    assert len(at(cluster, 0).xrange(feed(0).log)) == 1, "who had it is not told again"


def test_a_shard_of_another_generation_is_filled(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    """It was away while the others were filled again; cards that are not in the database are removed."""
    at(cluster, 1).hset(feed(1).head, mapping={"generation": "old", "revision": 12})
    stray = next(f"zp:{{p:stray{n}}}" for n in range(100) if cluster.holder(f"zp:{{p:stray{n}}}") == 1)
    at(cluster, 1).set(stray, "stray")
    projector.catch_up(engine, filled)
    assert len({head for head in heads(cluster) if head}) == 1
    assert stray not in cards(cluster, 1)


def test_slots_that_moved_without_their_keys_are_filled_where_they_are(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    """The shard's head says for which slots it was filled."""
    gtin = next(key for key in PRODUCTS if cluster.holder(redis_keys.location(key)[0]) == 2 and _slot(key) > 11_000)
    names = [at(cluster, number).execute_command("CLUSTER", "MYID").decode() for number in range(3)]
    at(cluster, 2).delete(redis_keys.location(gtin)[0])
    try:
        _give(cluster, _slot(gtin), names[0], 0)
        projector.catch_up(engine, filled)
        assert redis_keys.location(gtin)[0] in cards(cluster, 0)
        assert len({head for head in heads(cluster) if head}) == 1
    finally:
        at(cluster, 0).flushall()
        _give(cluster, _slot(gtin), names[2], 2)


def test_a_shard_that_was_filled_names_no_change_across_what_it_was_filled_with(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    """Its head skipped a change that its log does not name: a reader before this revision must forget everything."""
    first, missed, last = list(PRODUCTS)[:3]
    put(engine, {first: b"at 61, where a scan process stands"})
    projector.catch_up(engine, filled)
    at(cluster, 0).hset(feed(0).head, "slots", "0-1")
    put(engine, {missed: b"revoked, at 62"})
    with pytest.raises(Unavailable, match="has to be filled again"):
        projector.catch_up(engine, filled, fill=False)
    projector.catch_up(engine, filled)
    put(engine, {last: b"at 63"})
    projector.catch_up(engine, filled)
    for number in range(3):
        log = at(cluster, number).xrange(feed(number).log, "61-0", "+")
        named = changed_keys([(entry, [b"k", fields[b"k"]]) for entry, fields in log], 61, 63)
        assert named is None or missed in set(named)


def _slot(card: str) -> int:
    return slot_of(redis_keys.location(card)[0])


def _give(cluster: EmbeddedCluster, slot: int, name: str, number: int) -> None:
    """Make a node own an empty slot; the receiver is informed first."""
    for at_node in (number, *({0, 1, 2} - {number})):
        at(cluster, at_node).execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)
    eventually(lambda: all(_owner(cluster, at_node, slot) == number for at_node in range(3)))


def _owner(cluster: EmbeddedCluster, asked: int, slot: int) -> int:
    for first, last, node, *_ in at(cluster, asked).execute_command("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return cluster.ports.index(node[1])
    return -1


def test_a_status_change_does_not_fill_an_empty_cluster(
    engine: Engine, cluster: EmbeddedCluster, redis: redis_client.AnyRedis
) -> None:
    """A status change must not wait for minutes of filling."""
    put(engine, PRODUCTS)
    with pytest.raises(Unavailable, match="has to be filled again"):
        projector.catch_up(engine, redis, fill=False)
    assert heads(cluster) == [None] * 3
    projector.catch_up(engine, redis)
    put(engine, {"p:1": b"new"})
    assert projector.catch_up(engine, redis, fill=False) == 61


def test_a_shard_that_is_gone_holds_up_nobody_else_and_is_filled_when_it_is_back(
    cluster: EmbeddedCluster, filled: redis_client.AnyRedis, engine: Engine
) -> None:
    generation = heads(cluster)[0]
    assert filled.ping()
    cluster.kill(1)
    put(engine, dict.fromkeys(PRODUCTS, b"revoked"))
    with pytest.raises(Unavailable):
        projector.catch_up(engine, filled)
    for number in (0, 2):
        assert {value[8:] for value in cards(cluster, number).values()} == {b"revoked"}
        assert at(cluster, number).hget(feed(number).head, "revision") == b"120"
    assert readiness.parts(engine, filled, _NOBODY, bytes)["redis"] == readiness.DOWN
    cluster.start(1)  # empty
    eventually(lambda: cluster.whole(0) and cluster.whole(1))
    eventually(lambda: _caught_up(engine, filled))
    assert {value[8:] for value in cards(cluster, 1).values()} == {b"revoked"}
    assert {head and head[0] for head in heads(cluster)} == {generation and generation[0]}
    assert readiness.parts(engine, filled, _NOBODY, bytes)["redis"] == readiness.OK


def _caught_up(engine: Engine, redis: redis_client.AnyRedis) -> bool:
    try:
        return projector.catch_up(engine, redis) > 0
    except Unavailable:
        return False


def test_scans_are_drained_from_whichever_shard_has_the_stream(
    engine: Engine, cluster: EmbeddedCluster, redis: redis_client.AnyRedis
) -> None:
    ms = int(NOW.timestamp() * 1000)
    event = ScanEvent(ms, "09501101530003", "", 7, 5, "verified", "", "", b"visitor1", "zh", "wechat", counted=True)
    stream = at(cluster, cluster.holder(redis_keys.SCANS))
    for _ in range(3):
        stream.rpush(redis_keys.INBOX, encode([event, event]))
    holder = redis_client.holder(redis, redis_keys.SCANS)
    assert scans.drain(engine, holder, consumer="one") == 3
    assert scans.drain(engine, holder, consumer="one") == 0
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM scan")).scalar() == 6


def test_without_any_node_it_says_so(engine: Engine) -> None:
    with closing(redis_client.connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")) as nobody:
        with pytest.raises(Unavailable):
            projector.catch_up(engine, nobody)
        with pytest.raises(Unavailable):
            redis_client.holder(nobody, redis_keys.SCANS)
