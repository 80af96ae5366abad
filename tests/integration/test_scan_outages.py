"""What a consumer is told while something is down, stale or empty: never a green page that nobody can vouch for."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.integration import scan_factories as make
from tests.integration.scan_factories import GTIN, Registry, ScanService, events
from tests.patience import eventually
from zpcode.embedded.servers import Addresses, Servers
from zpcode.wire import card, redis_keys
from zpcode.wire.card import Scope, State
from zpcode.wire.payload import Identity

NOBODY = "postgresql://zpcode_scan:x@/zpcode?host=/nonexistent"
REVOKED = {make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)}


QUICK = {"scan_redis_ms": 200}


@pytest.fixture
def quick(addresses: Addresses, registry: Registry) -> Iterator[ScanService]:
    """A scan process that waits no longer for Redis than in production."""
    with ScanService(make.settings(addresses, registry.room, **QUICK)) as running:
        yield running


@contextmanager
def frozen(servers: Servers) -> Iterator[None]:
    """Valkey accepts connections and answers nothing."""
    os.kill(servers.processes.pid("valkey"), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(servers.processes.pid("valkey"), signal.SIGCONT)


# Redis ------------------------------------------------------------------------------------------------------


def test_flushall_never_makes_a_revoked_code_look_good(service: ScanService, registry: Registry, redis: Redis) -> None:
    registry.put(REVOKED)
    assert service.verdict(registry.item()) == "revoked"
    redis.flushall()
    assert [service.verdict(registry.item()) for _ in range(5)] == ["revoked"] * 5
    service.look()
    assert service.verdict(registry.item(1)) == "revoked"
    registry.project()
    service.look()
    assert service.verdict(registry.item(2)) == "revoked"
    assert service.app.health()["answers_from"] == "redis"


def test_an_evicted_card_or_hash_of_standings_is_read_from_the_database(
    addresses: Addresses, registry: Registry, redis: Redis
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
    addresses: Addresses, registry: Registry, redis: Redis
) -> None:
    registry.put(REVOKED)
    redis.delete(redis_keys.STANDINGS)
    registry.put({make.s(Scope.STANDARD, "T/ZZB 0664-2018"): make.standing(State.FLAGGED)})
    with ScanService(make.settings(addresses, registry.room)) as service:
        assert service.verdict(registry.item()) == "revoked"


def test_a_frozen_redis_is_answered_around_within_the_bound(
    quick: ScanService, registry: Registry, servers: Servers
) -> None:
    quick.get(registry.item())
    with frozen(servers):
        before = quick.app.scan._clock()
        pages = [quick.get(registry.item(index)) for index in range(20)]
        assert quick.app.scan._clock() - before < 5, "it waited once or twice, not twenty times"
        assert {page.status_code for page in pages} == {200}
        assert all("Verified" in page.text and "not available now" in page.text for page in pages)
        registry.commit(REVOKED)
        quick.look()
        assert quick.verdict(registry.item(30)) == "revoked"
    registry.project()
    eventually(lambda: quick.app.health()["answers_from"] == "redis", seconds=5)
    assert quick.verdict(registry.item(31)) == "revoked"


def test_many_scans_at_once_of_a_frozen_redis_are_all_answered(
    quick: ScanService, registry: Registry, servers: Servers
) -> None:
    async def together() -> set[int]:
        asked = [quick.aget(registry.item(index)) for index in range(300)]
        return {response.status_code for response in await asyncio.gather(*asked)}

    for index in range(300):
        registry.item(index)
    with frozen(servers):
        assert quick.do(together()) == {200}


def test_scans_made_during_an_outage_reach_the_stream_afterwards(
    quick: ScanService, registry: Registry, servers: Servers, redis: Redis
) -> None:
    with frozen(servers):
        for index in range(10):
            quick.get(registry.item(index))
    eventually(lambda: len(events(redis)) == 10, seconds=5)


def test_beyond_its_bound_the_buffer_drops_and_counts(
    addresses: Addresses, registry: Registry, servers: Servers
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_buffer=3, **QUICK)) as service, frozen(servers):
        for index in range(10):
            service.get(registry.item(index))
        assert service.app.health()["scans"] == {"waiting": 3, "sent": 0, "dropped": 7}


def test_a_revocation_redis_was_not_told_of_is_seen_by_the_next_look(service: ScanService, registry: Registry) -> None:
    assert service.verdict(registry.item()) == "verified"
    registry.commit(REVOKED)  # the projection after the commit failed
    service.look()
    assert service.verdict(registry.item(1)) == "revoked"
    registry.commit(
        {card.item_key(7, 2): make.standing(State.RECALLED), card.batch_key(7): make.batch(exceptions=True)}
    )
    registry.commit({make.s(Scope.PRODUCT, GTIN): make.standing(State.GOOD)})
    service.look()
    assert service.verdict(registry.item(2)) == "recalled"
    registry.project()
    assert [service.verdict(registry.item(index)) for index in (1, 2)] == ["verified", "recalled"]


def test_the_watch_looks_by_itself(service: ScanService, registry: Registry) -> None:
    service.get(registry.item())
    registry.commit(REVOKED)
    eventually(lambda: service.verdict(registry.item()) == "revoked", seconds=10)


def test_a_redis_that_comes_back_with_old_content_is_not_believed_alone(
    service: ScanService, registry: Registry, redis: Redis
) -> None:
    """A failover to a replica that had not heard of the revocation."""
    service.get(registry.item())
    old = {key: redis.dump(key) or b"" for key in redis.keys("zp:*")}
    registry.put(REVOKED)
    assert service.verdict(registry.item()) == "revoked"
    redis.flushall()
    for key, value in old.items():
        redis.restore(key, 0, value)
    assert [service.verdict(registry.item(index)) for index in range(5)] == ["revoked"] * 5


def test_a_new_generation_makes_every_process_forget(service: ScanService, registry: Registry, redis: Redis) -> None:
    service.get(registry.item())
    registry.commit({card.product_key(GTIN): make.product(model="NEW")})
    redis.delete(redis_keys.HEAD)
    registry.project()
    assert service.json(registry.item())["product"]["model"] == "NEW"


def test_a_gap_in_the_log_makes_a_process_forget_everything(
    service: ScanService, registry: Registry, redis: Redis
) -> None:
    service.get(registry.item())
    registry.put(REVOKED)
    redis.delete(redis_keys.LOG)
    assert service.verdict(registry.item()) == "revoked"


def test_a_code_looked_for_before_its_batch_was_committed_is_good_right_after(
    service: ScanService, registry: Registry
) -> None:
    assert service.get(registry.item(0, 42)).status_code == 404
    assert service.get(Identity(make.OTHER_GTIN).path).status_code == 404
    registry.put({card.batch_key(42): make.batch(42), card.product_key(make.OTHER_GTIN): make.product(make.OTHER_GTIN)})
    assert service.verdict(registry.item(0, 42)) == "verified"
    assert service.verdict(Identity(make.OTHER_GTIN).path) == "seal_missing"


# The database -----------------------------------------------------------------------------------------------


def test_without_the_database_warm_codes_are_answered_as_always(addresses: Addresses, registry: Registry) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_database_url=NOBODY)) as service:
        assert service.verdict(registry.item()) == "verified"
        registry.put(REVOKED)
        assert service.verdict(registry.item()) == "revoked"


def test_without_the_database_a_code_redis_does_not_know_cannot_be_confirmed(
    addresses: Addresses, registry: Registry
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_database_url=NOBODY)) as service:
        told = service.json(registry.item(0, 42))
        assert (told["verdict"], told["tone"]) == ("unconfirmed", "neutral")
        assert "seal is valid" in told["meaning"]
        assert service.get(registry.item(0, 42)).status_code == 200


def test_without_both_the_seal_is_checked_and_no_verdict_is_green(addresses: Addresses, registry: Registry) -> None:
    nowhere = {"scan_database_url": NOBODY, "scan_redis_url": "unix:///nonexistent/valkey.sock"}
    with ScanService(make.settings(addresses, registry.room, **nowhere)) as service:
        good = registry.item()
        assert service.json(good)["tone"] == "neutral"
        assert service.get("/" + good[1:30] + ("A" if good[30] != "A" else "B") + good[31:]).status_code == 404
        assert service.get("/readyz").status_code == 503
        assert service.get("/healthz").status_code == 200


def test_without_both_what_anybody_can_have_made_up_takes_no_room_of_the_scans_that_wait(
    addresses: Addresses, registry: Registry
) -> None:
    gone = make.settings(addresses, registry.room, scan_database_url=NOBODY, scan_redis_url="unix:///nonexistent.sock")
    with ScanService(gone) as lonely:
        made_up = [make.compact_identity(3, wrong=True), make.item_identity(3), Identity(GTIN)]
        assert [lonely.verdict(code.path) for code in made_up] == ["unconfirmed"] * 3
        assert len(lonely.app.buffer) == 0
        lonely.get(registry.item())
        assert len(lonely.app.buffer) == 1, "a seal is proof enough"


def test_what_is_remembered_is_shown_but_never_green_once_both_are_gone(
    service: ScanService, registry: Registry
) -> None:
    service.get(registry.item())
    service.do(service.app.source.close())
    service.app.source._engine = None
    service.do(service.app.redis.close())
    service.app.redis._server = None
    service.look()
    told = service.json(registry.item())
    assert told["verdict"] == "unconfirmed"
    assert told["product"]["gtin"] == GTIN


def test_a_database_that_accepts_and_never_answers_holds_nobody_up(addresses: Addresses, registry: Registry) -> None:
    with silence() as port:
        url = f"postgresql://zpcode_scan:x@127.0.0.1:{port}/zpcode"
        with ScanService(
            make.settings(addresses, registry.room, scan_database_url=url, scan_database_ms=280)
        ) as service:
            assert service.verdict(registry.item()) == "verified"
            before = service.app.scan._clock()
            for _ in range(5):
                assert service.verdict(registry.item(0, 42)) == "unconfirmed"
            assert service.app.scan._clock() - before < 5 * 0.6


@contextmanager
def silence() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


# Nobody reads another's reply ---------------------------------------------------------------------------------


class Delay:
    """A proxy before Valkey that holds replies back for up to 150 ms."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target, self.path = target, folder / "slow.sock"
        self.random = random.Random(7)
        self.server: asyncio.Server | None = None
        self.serving: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def close(self) -> None:
        """Stop listening and let go of every connection."""
        assert self.server is not None
        self.server.close()
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        onward, out = await asyncio.open_unix_connection(self.target)
        await asyncio.gather(self._pump(reader, out, 0), self._pump(onward, writer, 0.15))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: float) -> None:
        try:
            while chunk := await reader.read(65536):
                await asyncio.sleep(self.random.random() * most)
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@pytest.fixture
def slow(addresses: Addresses) -> Iterator[tuple[Delay, str]]:
    credentials, _, path = addresses.scan_redis.removeprefix("unix://").partition("@")
    folder = Path(tempfile.mkdtemp(prefix="zp-"))
    delay = Delay(path, folder)
    yield delay, f"unix://{credentials}@{delay.path}"
    shutil.rmtree(folder)


def test_cancelled_requests_never_mix_replies(
    addresses: Addresses, registry: Registry, slow: tuple[Delay, str]
) -> None:
    """A third of the requests is given up half-way; each of the others gets its own item's answer."""
    registry.put({card.batch_key(7): make.batch(ranges=(card.RangeStanding(0, 49, make.standing(State.RECALLED)),))})
    delay, url = slow
    chance = random.Random(11)

    async def one(service: ScanService, index: int) -> bool:
        task = asyncio.create_task(service.aget(registry.item(index), accept="application/json"))
        if chance.random() < 0.33:
            await asyncio.sleep(chance.random() * 0.1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return True
        told = (await task).json()
        expected = {"recalled", "unconfirmed"} if index < 50 else {"verified", "unconfirmed"}
        serial = make.item_identity(index).path[-12:]
        return told["verdict"] in expected and told["code"]["serial"] == serial and _own(told)

    def _own(told: dict[str, object]) -> bool:
        history = told["history"]
        return history is None or (isinstance(history, dict) and history["scans"] <= 1)

    async def all_of_them(service: ScanService) -> list[bool]:
        await delay.start()
        rounds = []
        for _ in range(4):
            rounds += await asyncio.gather(*(one(service, index) for index in range(100)))
        return rounds

    for index in range(100):
        registry.item(index)
    with ScanService(make.settings(addresses, registry.room, scan_redis_url=url, **QUICK)) as service:
        assert all(service.do(all_of_them(service)))
        service.do(delay.close())


# What a scan costs --------------------------------------------------------------------------------------------


def test_a_warm_scan_takes_one_round_trip_and_no_query(service: ScanService, registry: Registry) -> None:
    paths = [registry.item(index) for index in range(20)] + [registry.sealed(Identity(GTIN))]
    for path in paths:
        service.get(path)
    trips, queries = service.app.redis.trips, service.app.source.queries
    looks = service.app.watch.looks
    for number, path in enumerate(paths):
        service.get(path, client=f"192.0.{number}.1")
    watched = service.app.watch.looks - looks
    assert service.app.source.queries - queries <= watched + 1, "the watch's own"
    assert service.app.redis.trips - trips <= len(paths) + watched + 3, "the watch's own and a last batch of scans"


def test_scans_at_the_same_time_share_their_round_trips(service: ScanService, registry: Registry, redis: Redis) -> None:
    for index in range(200):
        registry.item(index)
    service.get(registry.item())

    async def together() -> None:
        await asyncio.gather(*(service.aget(registry.item(index)) for index in range(200)))

    before = redis.info("commandstats")["cmdstat_hmget"]["calls"]
    trips = service.app.redis.trips
    service.do(together())
    assert service.app.redis.trips - trips <= 40
    assert redis.info("commandstats")["cmdstat_hmget"]["calls"] - before <= 400 + 40, (
        "two in each look, one head a trip"
    )
