"""Redis falls in every way it can, under load: everybody is answered, and what was revoked never looks good."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.faults import patient_scan, queries, replica
from tests.faults.load import Load, firsts, good
from tests.faults.proxy import Proxy
from tests.faults.world import World
from tests.support.patience import eventually
from zpcode.wire import redis_keys
from zpcode.wire.card import REVISION_FIELD

pytestmark = pytest.mark.proof

PATIENT = "tests.faults.patient_scan:create_app"


def judge(world: World, load: Load, fresh: str, seen: float) -> None:
    """No revoked code looked good, nor did `fresh`, revoked in between, once all had shown it; nobody was first twice."""
    assert good(load.told, world.revoked) == []
    assert good(load.since(seen), [fresh]) == []
    assert max(firsts(load.told).values()) == 1


def revoked_by_all(world: World, load: Load, index: int = 0) -> tuple[str, float]:
    """Revoke an item and wait until every process shows it; returns its code and since when."""
    fresh = world.revoke(index)
    return fresh, load.until_each(lambda told: told.path == fresh and told.verdict == "revoked")


def test_killed_and_started_again_with_nothing_in_it(world: World) -> None:
    """Scans go on from the database; what is revoked meanwhile is seen by all; Redis is filled and believed again."""
    with Load(world.ports, world.codes) as load:
        load.until_all_are_known()
        world.scans_drained()
        world.servers.processes.kill("valkey")
        world.until_all_stand_on("database")
        assert {told.verdict for told in load.more() if told.path in world.good} == {"verified"}
        fresh, seen = revoked_by_all(world, load)
        world.servers.start_valkey()
        world.until_all_stand_on("redis")
        load.until_each(lambda told: told.scans is not None)
        load.more()
    judge(world, load, fresh, seen)


def test_flushed_again_and_again(world: World) -> None:
    with Load(world.ports, world.codes) as load:
        load.until_all_are_known()
        for _ in range(5):
            world.scans_drained()
            world.redis.flushall()
            load.more(20)
        fresh, seen = revoked_by_all(world, load)
        eventually(lambda: world.redis.exists(redis_keys.HEAD))
        world.until_all_stand_on("redis")
        load.more()
    judge(world, load, fresh, seen)


def test_after_a_flush_no_process_reads_a_card_twice(bare: World) -> None:
    """Nobody fills Redis again. By PostgreSQL's own log, whatever number of people scan at once and one after another.

    The processes are patient: a query that is late on a busy machine would be asked again, and so would a card whose
    memory could not be compared in time. The last scans come when results of reads are reused no longer: memory answers.
    """
    queries.log_them(bare)
    bare.start_scans(2, app=PATIENT, ZPCODE_SCAN_DATABASE_MS="5000")
    with Load(bare.ports, bare.codes) as load:
        load.until_all_are_known()
    asked = queries.Asked(bare)
    bare.redis.flushall()
    with Load(bare.ports, bare.codes, clients=8, pause=0.001) as load:
        load.until_all_are_known()
        load.more(150)
        time.sleep(patient_scan.REUSE_SECONDS)
        load.more(150)
    cards = asked.cards()
    assert {process for process, _ in cards} == {"scan-0", "scan-1"}
    assert {key for _, key in cards} >= {"b:7", "b:9", "x:7:900"}
    assert [card for card, times in cards.items() if times > 1] == []
    assert good(load.told, bare.revoked) == []


def test_its_memory_is_full(world: World) -> None:
    """It refuses every write, or throws away whatever it likes; a decision made then is seen all the same."""
    with Load(world.ports, world.codes) as load:
        load.until_all_are_known()
        for index, policy in enumerate(("noeviction", "allkeys-lru")):
            world.scans_drained()
            world.redis.config_set("maxmemory-policy", policy)
            world.redis.config_set("maxmemory", "1mb")
            load.more()
            fresh, seen = revoked_by_all(world, load, index)
            assert {told.verdict for told in load.more() if told.path in world.good[2:]} == {"verified"}
            world.redis.config_set("maxmemory", "0")
            world.redis.config_set("maxmemory-policy", "noeviction")
            world.until_all_stand_on("redis")
            load.until_each(lambda told: told.scans is not None)
            load.more()
            judge(world, load, fresh, seen)


@pytest.fixture
def address(bare: World) -> Iterator[Proxy]:
    """The stable address at which everybody reaches Redis; scan processes and a worker that do."""
    with Proxy(bare.servers.sockets / "valkey.sock", bare.servers.sockets / "address.sock") as proxy:
        bare.reach_redis_at(proxy.path)
        bare.start_scans(2)
        bare.start_worker()
        yield proxy


def test_a_slow_line(bare: World, address: Proxy) -> None:
    """Slow, too slow, frozen, cut: below the bound Redis is waited for, above it the database answers."""
    with Load(bare.ports, bare.codes) as load:
        load.until_all_are_known()
        address.delay = 0.05
        assert any(told.scans is not None for told in load.more())
        address.delay = 0.6
        bare.until_all_stand_on("database")
        fresh, seen = revoked_by_all(bare, load)
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
    judge(bare, load, fresh, seen)


def test_a_failover_to_a_replica_that_lags(bare: World, address: Proxy) -> None:
    """The primary dies with a revocation its replica has not heard of; the replica takes over at the same address."""
    with replica.following(bare) as second, Load(bare.ports, bare.codes) as load:
        load.until_all_are_known()
        bare.scans_drained()
        second.in_step()
        second.lag()
        fresh, seen = revoked_by_all(bare, load)
        eventually(lambda: head(bare.redis) > head(second.redis))
        bare.servers.processes.kill("valkey")
        second.promote()
        address.lead_to(second.socket)
        bare.until_all_stand_on("redis")
        eventually(lambda: head(second.redis) == bare.newest())
        later, then = revoked_by_all(bare, load, 1)
        load.more()
    judge(bare, load, fresh, seen)
    assert good(load.since(then), [later]) == []


def head(redis: Redis) -> int:
    """The revision a Redis stands at."""
    return int(redis.hget(redis_keys.HEAD, REVISION_FIELD) or 0)
