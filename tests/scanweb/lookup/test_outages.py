"""Scans while Redis is down, stale or empty: never a green page that cannot be confirmed."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis import Redis

from scanweb.lookup import redis_reader
from tests.support import scan_factories as make
from tests.support.frozen import frozen
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService, events
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.wire import card, redis_keys
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import Scope, State

REVOKED = {make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)}
QUICK = {"scan_redis_ms": 200}


@pytest.fixture
def quick(addresses: ServerAddresses, registry: ScanAuthority) -> Iterator[ScanService]:
    """A scan process with production's timeout for Redis."""
    with ScanService(make.settings(addresses, registry.room, **QUICK)) as running:
        yield running


@pytest.fixture
def valkey(servers: Servers) -> int:
    """Valkey's process id."""
    return servers.processes.pid("valkey")


def test_flushall_never_makes_a_revoked_code_look_good(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    registry.put(REVOKED)
    assert service.verdict(registry.item()) == "revoked"
    redis.flushall()
    assert [service.verdict(registry.item()) for _ in range(5)] == ["revoked"] * 5
    service.compare()
    assert service.verdict(registry.item(1)) == "revoked"
    registry.project()
    service.compare()
    assert service.verdict(registry.item(2)) == "revoked"
    assert service.app.health()["answers_from"] == "redis"


def test_an_evicted_card_or_hash_of_standings_is_read_from_the_database(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    item = {card.item_key(7, 0): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)}
    registry.put({make.s(Scope.ENTERPRISE, "91331181MA2E4K7R0X"): make.standing(State.SUSPENDED), **item})
    for lost in (redis_keys.STANDINGS, redis_keys.exceptions(7), f"zp:{{p:{GTIN}}}", "zp:{b:7}"):
        kept = redis.dump(lost)
        assert kept is not None
        redis.delete(lost)
        with ScanService(make.settings(addresses, registry.room)) as service:
            assert service.verdict(registry.item(0)) == "revoked", lost
            assert service.verdict(registry.item(1)) == "suspended", lost
        redis.restore(lost, 0, kept)


def test_a_standing_that_is_written_into_an_evicted_hash_does_not_hide_the_others(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    registry.put(REVOKED)
    redis.delete(redis_keys.STANDINGS)
    registry.put({make.s(Scope.STANDARD, "T/ZZB 0664-2018"): make.standing(State.FLAGGED)})
    with ScanService(make.settings(addresses, registry.room)) as service:
        assert service.verdict(registry.item()) == "revoked"


def test_a_frozen_redis_is_answered_around_within_the_bound(
    quick: ScanService, registry: ScanAuthority, valkey: int
) -> None:
    quick.get(registry.item())
    with frozen(valkey):
        before = quick.app.scan._clock()
        pages = [quick.get(registry.item(index)) for index in range(20)]
        assert quick.app.scan._clock() - before < 5, "it waited once or twice, not twenty times"
        assert {page.status_code for page in pages} == {200}
        assert all("Verified" in page.text and "not available now" in page.text for page in pages)
        registry.commit(REVOKED)
        quick.compare()
        assert quick.verdict(registry.item(30)) == "revoked"
    registry.project()
    eventually(lambda: quick.app.health()["answers_from"] == "redis", seconds=5)
    assert quick.verdict(registry.item(31)) == "revoked"


def test_many_scans_at_once_of_a_frozen_redis_are_all_answered(
    quick: ScanService, registry: ScanAuthority, valkey: int
) -> None:
    async def together() -> set[int]:
        asked = [quick.aget(registry.item(index)) for index in range(300)]
        return {response.status_code for response in await asyncio.gather(*asked)}

    for index in range(300):
        registry.item(index)
    with frozen(valkey):
        assert quick.do(together()) == {200}


def test_scans_made_during_an_outage_reach_the_stream_afterwards(
    quick: ScanService, registry: ScanAuthority, valkey: int, redis: Redis
) -> None:
    with frozen(valkey):
        for index in range(10):
            quick.get(registry.item(index))
    eventually(lambda: len(events(redis)) == 10, seconds=5)


def test_beyond_its_bound_the_buffer_drops_and_counts(
    addresses: ServerAddresses, registry: ScanAuthority, valkey: int
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_buffer=3, **QUICK)) as service, frozen(valkey):
        for index in range(10):
            service.get(registry.item(index))
        assert service.app.health()["scans"] == {"waiting": 3, "sent": 0, "dropped": 7}


def test_a_revocation_that_is_not_in_redis_is_known_after_the_next_comparison(
    service: ScanService, registry: ScanAuthority
) -> None:
    assert service.verdict(registry.item()) == "verified"
    registry.commit(REVOKED)  # the projection after the commit failed
    service.compare()
    assert service.verdict(registry.item(1)) == "revoked"
    registry.commit(
        {card.item_key(7, 2): make.standing(State.RECALLED), card.batch_key(7): make.batch(exceptions=True)}
    )
    registry.commit({make.s(Scope.PRODUCT, GTIN): make.standing(State.GOOD)})
    service.compare()
    assert service.verdict(registry.item(2)) == "recalled"
    registry.project()
    assert [service.verdict(registry.item(index)) for index in (1, 2)] == ["verified", "recalled"]


def test_redis_is_compared_in_the_background(service: ScanService, registry: ScanAuthority) -> None:
    service.get(registry.item())
    registry.commit(REVOKED)
    eventually(lambda: service.verdict(registry.item()) == "revoked", seconds=10)


def test_a_redis_that_comes_back_with_old_content_is_not_believed_alone(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    """A failover to a replica without the revocation."""
    service.get(registry.item())
    old = {key: redis.dump(key) or b"" for key in redis.keys("zp:*")}
    registry.put(REVOKED)
    assert service.verdict(registry.item()) == "revoked"
    redis.flushall()
    for key, value in old.items():
        redis.restore(key, 0, value)
    assert [service.verdict(registry.item(index)) for index in range(5)] == ["revoked"] * 5


def test_a_new_generation_makes_every_process_forget(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    service.get(registry.item())
    registry.commit({card.product_key(GTIN): make.product(model="NEW")})
    redis.delete(redis_keys.HEAD)
    registry.project()
    assert service.json(registry.item())["product"]["model"] == "NEW"


def test_a_gap_in_the_log_makes_a_process_forget_everything(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    service.get(registry.item())
    registry.put(REVOKED)
    redis.delete(redis_keys.LOG)
    assert service.verdict(registry.item()) == "revoked"


def test_a_code_looked_for_before_its_batch_was_committed_is_good_right_after(
    service: ScanService, registry: ScanAuthority
) -> None:
    assert service.get(registry.item(0, 42)).status_code == 404
    assert service.get(Identity(make.OTHER_GTIN).path).status_code == 404
    registry.put({card.batch_key(42): make.batch(42), card.product_key(make.OTHER_GTIN): make.product(make.OTHER_GTIN)})
    assert service.verdict(registry.item(0, 42)) == "verified"
    assert service.verdict(Identity(make.OTHER_GTIN).path) == "seal_missing"


def test_at_the_limit_of_the_inbox_scans_wait_in_the_process_and_none_is_lost(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker runs. The answers are as usual; when the inbox has room again, the scans follow by themselves."""
    monkeypatch.setattr(redis_reader, "FULL_SECONDS", 3600.0)  # instead of a second
    redis.rpush(redis_keys.INBOX, *(b"waits" for _ in range(1000)))
    with ScanService(make.settings(addresses, registry.room, scan_stream_length=1000)) as service:
        buffer, reader = service.app.buffer, service.app.redis_reader
        service.get(registry.item(0))
        eventually(lambda: buffer.sent == 1)
        for index in range(1, 6):
            assert service.json(registry.item(index))["history"]["scans"] == 1
        assert (len(buffer), redis.llen(redis_keys.INBOX)) == (5, 1001)
        redis.ltrim(redis_keys.INBOX, 1000, -1)
        reader._full_until = 0.0
        eventually(lambda: buffer.sent == 6)
        assert (len(buffer), buffer.dropped) == (0, 0)
        assert sorted(event.index or 0 for event in events(redis)) == list(range(6))
