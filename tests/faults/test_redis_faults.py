"""Redis fails in several ways under load: every scan is answered, and a revoked code never shows in green."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.faults import patient_scan, queries, replica
from tests.faults.load import Load, firsts, good
from tests.faults.proxy import Proxy
from tests.faults.world import Installation
from tests.support.patience import eventually
from zpcode.wire import redis_keys
from zpcode.wire.card import REVISION_FIELD

pytestmark = pytest.mark.proof

PATIENT = "tests.faults.patient_scan:create_app"


def judge(world: Installation, load: Load, fresh: str, revoked_since: float) -> None:
    """No revoked code showed in green, nor did `fresh` after its revocation; only one visitor was told to be the first."""
    assert good(load.responses, world.revoked) == []
    assert good(load.since(revoked_since), [fresh]) == []
    assert max(firsts(load.responses).values()) == 1


def revoked_by_all(world: Installation, load: Load, index: int = 0) -> tuple[str, float]:
    """Revoke an item and wait until every process shows it; returns its code and that moment."""
    fresh = world.revoke(index)
    return fresh, load.until_each(lambda response: response.path == fresh and response.verdict == "revoked")


def test_killed_and_started_again_with_nothing_in_it(world: Installation) -> None:
    """Scans read the database; a revocation shows on all processes; Redis is filled and read again."""
    with Load(world.ports, world.codes) as load:
        load.until_all_are_answered()
        world.scans_drained()
        world.servers.processes.kill("valkey")
        world.until_all_stand_on("database")
        assert {response.verdict for response in load.more() if response.path in world.good} == {"verified"}
        fresh, revoked_since = revoked_by_all(world, load)
        world.servers.start_valkey()
        world.until_all_stand_on("redis")
        load.until_each(lambda response: response.scans is not None)
        load.more()
    judge(world, load, fresh, revoked_since)


def test_flushed_again_and_again(world: Installation) -> None:
    with Load(world.ports, world.codes) as load:
        load.until_all_are_answered()
        for _ in range(5):
            world.scans_drained()
            world.redis.flushall()
            load.more(20)
        fresh, revoked_since = revoked_by_all(world, load)
        eventually(lambda: world.redis.exists(redis_keys.HEAD))
        world.until_all_stand_on("redis")
        load.more()
    judge(world, load, fresh, revoked_since)


def test_after_a_flush_no_process_reads_a_card_twice(bare: Installation) -> None:
    """Nobody fills Redis again. The database queries are counted in PostgreSQL's log, during and after many scans.

    The processes have long timeouts: with short ones a busy machine makes them send a late query again, and read a card
    again that memory could not confirm in time. The last scans come after the reuse time of reads: memory answers them.
    """
    queries.log_them(bare)
    bare.start_scans(2, app=PATIENT, ZPCODE_SCAN_DATABASE_MS="5000")
    with Load(bare.ports, bare.codes) as load:
        load.until_all_are_answered()
    asked = queries.Asked(bare)
    bare.redis.flushall()
    with Load(bare.ports, bare.codes, clients=8, pause=0.001) as load:
        load.until_all_are_answered()
        load.more(150)
        time.sleep(patient_scan.REUSE_SECONDS)
        load.more(150)
    cards = asked.cards()
    assert {process for process, _ in cards} == {"scan-0", "scan-1"}
    assert {key for _, key in cards} >= {"b:7", "b:9", "x:7:900"}
    assert [card for card, times in cards.items() if times > 1] == []
    assert good(load.responses, bare.revoked) == []


def test_its_memory_is_full(world: Installation) -> None:
    """Redis refuses every write, or evicts keys; a revocation shows all the same."""
    with Load(world.ports, world.codes) as load:
        load.until_all_are_answered()
        for index, policy in enumerate(("noeviction", "allkeys-lru")):
            world.scans_drained()
            world.redis.config_set("maxmemory-policy", policy)
            world.redis.config_set("maxmemory", "1mb")
            load.more()
            fresh, revoked_since = revoked_by_all(world, load, index)
            assert {response.verdict for response in load.more() if response.path in world.good[2:]} == {"verified"}
            world.redis.config_set("maxmemory", "0")
            world.redis.config_set("maxmemory-policy", "noeviction")
            world.until_all_stand_on("redis")
            load.until_each(lambda response: response.scans is not None)
            load.more()
            judge(world, load, fresh, revoked_since)


@pytest.fixture
def address(bare: Installation) -> Iterator[Proxy]:
    """The stable address of Redis, with scan processes and a worker that use it."""
    with Proxy(bare.servers.sockets / "valkey.sock", bare.servers.sockets / "address.sock") as proxy:
        bare.reach_redis_at(proxy.path)
        bare.start_scans(2)
        bare.start_worker()
        yield proxy


def test_a_slow_line(bare: Installation, address: Proxy) -> None:
    """The line is slow, too slow, frozen, cut: below the timeout Redis answers, above it the database."""
    with Load(bare.ports, bare.codes) as load:
        load.until_all_are_answered()
        address.delay = 0.05
        assert any(response.scans is not None for response in load.more())
        address.delay = 0.6
        bare.until_all_stand_on("database")
        fresh, revoked_since = revoked_by_all(bare, load)
        address.delay = 0.0
        bare.until_all_stand_on("redis")
        address.freeze()
        bare.until_all_stand_on("database")
        address.thaw()
        bare.until_all_stand_on("redis")
        for _ in range(5):
            address.cut()
            load.more(10)
        bare.until_all_stand_on("redis")
    judge(bare, load, fresh, revoked_since)


def test_a_failover_to_a_replica_that_lags(bare: Installation, address: Proxy) -> None:
    """The primary dies with a revocation that its replica does not have; the replica takes over at the same address."""
    with replica.following(bare) as second, Load(bare.ports, bare.codes) as load:
        load.until_all_are_answered()
        bare.scans_drained()
        second.in_step()
        second.lag()
        fresh, revoked_since = revoked_by_all(bare, load)
        eventually(lambda: head(bare.redis) > head(second.redis))
        bare.servers.processes.kill("valkey")
        second.promote()
        address.lead_to(second.socket)
        bare.until_all_stand_on("redis")
        eventually(lambda: head(second.redis) == bare.newest())
        later, then = revoked_by_all(bare, load, 1)
        load.more()
    judge(bare, load, fresh, revoked_since)
    assert good(load.since(then), [later]) == []


def head(redis: Redis) -> int:
    """The revision in a Redis."""
    return int(redis.hget(redis_keys.HEAD, REVISION_FIELD) or 0)
