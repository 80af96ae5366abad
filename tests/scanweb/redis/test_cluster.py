"""Scans on a Valkey Cluster of three primaries: for a missing shard the database is read, for no other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any, cast

import pytest
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from scanweb.redis.client import RedisClient
from scanweb.redis.cluster import NotAnswered
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.embedded.servers import ServerAddresses
from zpcode.projection import client as redis_client
from zpcode.wire import card, redis_keys
from zpcode.wire.redis_cluster import slot_of
from zpcode.wire.scan_event import decode
from zpcode.wire.vocabulary import Scope, State

SHARDS = range(3)


def _batch_on(shard: int) -> int:
    return next(number for number in range(1, 1000) if slot_of(f"zp:{{b:{number}}}") * 3 // 16384 == shard)


BATCHES = [_batch_on(shard) for shard in SHARDS]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    """Three primaries without replicas."""
    with EmbeddedCluster(tmp_path_factory.mktemp("cluster"), timeout_ms=1000) as running:
        yield running


@pytest.fixture
def cluster(nodes: EmbeddedCluster) -> EmbeddedCluster:
    """The same, emptied and whole."""
    for number in SHARDS:
        nodes.client(number).flushall()
    return nodes


@pytest.fixture
def registry(cluster: EmbeddedCluster, engine: Engine, scan_keys: tuple[KeyRoom, str]) -> Iterator[ScanAuthority]:
    """The authority, with a product and a batch on each shard."""
    with closing(redis_client.connect(cluster.addresses.redis, seconds=2)) as redis:
        authority = ScanAuthority(engine, cast("Any", redis), *scan_keys)
        authority.everything()
        authority.put({card.batch_key(number): make.batch(number) for number in BATCHES})
        for number in BATCHES:
            for index in range(30):
                authority.item(index, number)
        yield authority


@pytest.fixture
def service(cluster: EmbeddedCluster, addresses: ServerAddresses, registry: ScanAuthority) -> Iterator[ScanService]:
    """A scan process on the cluster."""
    with _scanning(cluster, addresses, registry) as running:
        yield running


def _scanning(
    cluster: EmbeddedCluster, addresses: ServerAddresses, registry: ScanAuthority, **changes: Any
) -> ScanService:
    return ScanService(make.settings(addresses, registry.room, scan_redis_url=cluster.addresses.scan_redis, **changes))


def _revoked(number: int, index: int = 0) -> dict[str, Any]:
    return {
        card.item_key(number, index): make.standing(State.REVOKED),
        card.batch_key(number): make.batch(number, exceptions=True),
    }


def _kept(cluster: EmbeddedCluster, shard: int) -> dict[bytes, bytes]:
    """A copy of everything on one shard, like a replica that receives nothing from now on."""
    client: Any = cluster.client(shard)
    return {key: client.dump(key) for key in client.keys("zp:*")}


def _promoted(cluster: EmbeddedCluster, shard: int, kept: dict[bytes, bytes]) -> None:
    """That replica becomes the primary."""
    client: Any = cluster.client(shard)
    pipeline = client.pipeline(transaction=False)
    pipeline.flushall()
    for key, value in kept.items():
        pipeline.restore(key, 0, value)
    pipeline.execute()


def test_scans_verify_count_and_see_a_revocation(
    service: ScanService, registry: ScanAuthority, cluster: EmbeddedCluster
) -> None:
    assert service.app.health()["answers_from"] == "redis"
    for number in BATCHES:
        assert service.json(registry.item(0, number))["history"]["scans"] == 1
        assert service.json(registry.item(0, number), client="192.0.2.1")["history"]["scans"] == 2

    async def together() -> set[str]:
        asked = [
            service.aget(registry.item(index, number), accept="application/json")
            for index in range(30)
            for number in BATCHES
        ]
        return {response.json()["verdict"] for response in await asyncio.gather(*asked)}

    with service.reads() as keys:
        assert service.do(together()) == {"verified"}
    assert keys == []
    registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)})
    assert service.verdict(registry.item(0, BATCHES[0])) == "revoked"
    stream: Any = cluster.client(cluster.holder(redis_keys.SCANS))
    eventually(lambda: service.app.buffer.sent == 97, seconds=5)
    assert stream.llen(redis_keys.INBOX) > 0


@pytest.mark.parametrize("shard", SHARDS)
def test_a_promoted_replica_that_had_not_heard_of_a_revocation_is_not_believed(
    shard: int, service: ScanService, registry: ScanAuthority, cluster: EmbeddedCluster, addresses: ServerAddresses
) -> None:
    """From the first scan on, before the next comparison, in running and in new processes."""
    number = BATCHES[shard]
    service.get(registry.item(1, number))
    kept = _kept(cluster, shard)
    registry.put(_revoked(number))
    assert service.verdict(registry.item(0, number)) == "revoked"
    epoch = service.app.memory.epoch
    _promoted(cluster, shard, kept)
    assert [service.verdict(registry.item(0, number)) for _ in range(3)] == ["revoked"] * 3
    with _scanning(cluster, addresses, registry) as another:
        assert another.verdict(registry.item(0, number)) == "revoked"
    assert all(service.json(registry.item(2, other))["history"] for other in {*BATCHES} - {number})
    assert service.app.memory.epoch == epoch, "the other shards were believed throughout"
    registry.project()
    with service.reads() as keys:
        assert service.verdict(registry.item(0, number)) == "revoked"
    assert keys == []


def test_a_server_with_old_content_is_not_believed_by_a_process_that_never_read_it(
    registry: ScanAuthority, cluster: EmbeddedCluster, addresses: ServerAddresses
) -> None:
    """The heads of the other shards show that this shard lacks a change: here the decision about the product."""
    shard = cluster.holder(redis_keys.STANDINGS)
    elsewhere = [registry.item(index, BATCHES[other]) for other in {*SHARDS} - {shard} for index in range(10)]
    with _scanning(cluster, addresses, registry) as service:
        kept = _kept(cluster, shard)
        registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)})
        cluster.kill(shard)
        try:
            assert {service.verdict(path) for path in elsewhere[:5]} == {"revoked"}
        finally:
            cluster.start(shard)
        eventually(lambda: all(cluster.whole(number) for number in SHARDS))
        _promoted(cluster, shard, kept)
        eventually(lambda: service.app.redis.reaches(redis_keys.STANDINGS))
        assert {service.verdict(path) for path in elsewhere} == {"revoked"}


@pytest.mark.usefixtures("registry")
def test_a_server_is_measured_against_the_others_before_its_first_answer(cluster: EmbeddedCluster) -> None:
    """A new primary is used only after the topology was read again, and this reads every head."""
    reads = [("GET", redis_keys.location(card.batch_key(number))[0]) for number in BATCHES]
    for shard in (1, 2):
        client: Any = cluster.client(shard)
        client.hincrby(redis_keys.feed(16384 * shard // 3).head, "revision", 1)

    async def asked() -> list[Any]:
        redis = RedisClient(cluster.addresses.scan_redis, seconds=5)
        replies = await redis.execute(reads)
        await redis.close()
        return replies

    first, *others = asyncio.run(asked())
    assert isinstance(first, NotAnswered)
    assert all(isinstance(reply, bytes) for reply in others)


@pytest.mark.parametrize("shard", SHARDS)
def test_codes_of_a_shard_that_is_gone_come_from_the_database_and_the_others_from_redis(
    shard: int, service: ScanService, registry: ScanAuthority, cluster: EmbeddedCluster
) -> None:
    registry.put(_revoked(BATCHES[shard]))
    for number in BATCHES:
        service.get(registry.item(1, number))
    eventually(lambda: not len(service.app.buffer))
    epoch = service.app.memory.epoch
    cluster.kill(shard)
    try:
        assert service.verdict(registry.item(0, BATCHES[shard])) == "revoked"
        body = service.json(registry.item(2, BATCHES[shard]))
        assert (body["verdict"], body["history"]) == ("verified", None)
        for other in set(SHARDS) - {shard}:
            body = service.json(registry.item(3, BATCHES[other]))
            assert (body["verdict"], body["history"]["scans"]) == ("verified", 1)
        service.compare()
        assert service.app.memory.epoch == epoch, "the other shards were believed throughout"
    finally:
        cluster.start(shard)
    eventually(lambda: all(cluster.whole(number) for number in SHARDS))
    eventually(lambda: _projected(registry))
    eventually(lambda: service.json(registry.item(4, BATCHES[shard]))["history"] is not None)
    assert service.verdict(registry.item(0, BATCHES[shard])) == "revoked"


def _projected(registry: ScanAuthority) -> bool:
    try:
        registry.project()
    except Exception:  # noqa: BLE001 - the node is not back yet
        return False
    return True


def test_scans_wait_while_the_shard_of_their_stream_is_gone(
    service: ScanService, registry: ScanAuthority, cluster: EmbeddedCluster
) -> None:
    shard = cluster.holder(redis_keys.SCANS)
    number = BATCHES[(shard + 1) % 3]
    service.get(registry.item(0, number))
    eventually(lambda: service.app.buffer.sent == 1, seconds=5)
    cluster.kill(shard)
    try:
        service.get(registry.item(20, number))  # the scan that notices the failure is lost, and counted as lost
        eventually(lambda: not service.app.redis.reaches(redis_keys.SCANS))
        for index in range(1, 11):
            service.get(registry.item(index, number))
        assert (service.app.buffer.dropped, len(service.app.buffer)) == (1, 10)
    finally:
        cluster.start(shard)
    stream: Any = cluster.client(shard)
    eventually(lambda: service.app.buffer.sent == 11)
    assert stream.llen(redis_keys.INBOX) > 0
    eventually(lambda: all(cluster.whole(number) for number in SHARDS))


def test_a_server_that_does_not_know_the_script_yet_makes_nobody_count_twice(
    service: ScanService, registry: ScanAuthority, cluster: EmbeddedCluster
) -> None:
    """A newly promoted replica has no scripts; the other shards have already counted."""
    for number in BATCHES:
        service.get(registry.item(0, number))
    client: Any = cluster.client(1)
    client.script_flush()

    async def together() -> list[dict[str, Any]]:
        asked = [service.aget(registry.item(7, number), accept="application/json") for number in BATCHES]
        return [response.json()["history"] for response in await asyncio.gather(*asked)]

    assert [history["scans"] for history in service.do(together())] == [1, 1, 1]
    eventually(lambda: service.app.buffer.sent == 6)
    assert len(_counted(cluster)) == 6


def _counted(cluster: EmbeddedCluster) -> list[Any]:
    """The scans in the stream that belong in an item's history."""
    stream: Any = cluster.client(cluster.holder(redis_keys.SCANS))
    entries = [decode(entry) for entry in stream.lrange(redis_keys.INBOX, 0, -1)]
    return [event for entry in entries for event in entry if event.counted]
