"""The round trips of scans: how many they take and share; no scan reads the reply of another."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card
from zpcode.wire.payload import Identity
from zpcode.wire.vocabulary import State


def test_a_warm_scan_takes_one_round_trip_and_no_query(service: ScanService, registry: ScanAuthority) -> None:
    paths = [registry.item(index) for index in range(20)] + [registry.sealed(Identity(GTIN))]
    for path in paths:
        service.get(path)
    trips, before = service.app.redis.trips, service.app.freshness.comparisons
    with service.reads() as keys:
        for number, path in enumerate(paths):
            service.get(path, client=f"192.0.{number}.1")
    compared = service.app.freshness.comparisons - before
    assert keys == []
    assert service.app.redis.trips - trips <= len(paths) + compared + 3, (
        "those of the comparisons, and a last batch of scans"
    )


def test_scans_at_the_same_time_share_their_round_trips(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
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
        "two in each comparison, one head a trip"
    )


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
        """Stop listening and close every connection."""
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
def slow(addresses: ServerAddresses) -> Iterator[tuple[Delay, str]]:
    credentials, _, path = addresses.scan_redis.removeprefix("unix://").partition("@")
    folder = Path(tempfile.mkdtemp(prefix="zp-"))
    delay = Delay(path, folder)
    yield delay, f"unix://{credentials}@{delay.path}"
    shutil.rmtree(folder)


def test_cancelled_requests_never_mix_replies(
    addresses: ServerAddresses, registry: ScanAuthority, slow: tuple[Delay, str]
) -> None:
    """A third of the requests is cancelled; each of the others gets the response for its own item."""
    registry.put({card.batch_key(7): make.batch(ranges=(make.ranged(0, 49, State.RECALLED),))})
    delay, url = slow
    chance = random.Random(11)

    async def one(service: ScanService, index: int) -> bool:
        task = asyncio.create_task(service.aget(registry.item(index), accept="application/json"))
        if chance.random() < 0.33:
            await asyncio.sleep(chance.random() * 0.1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return True
        body = (await task).json()
        expected = {"recalled", "unconfirmed"} if index < 50 else {"verified", "unconfirmed"}
        serial = make.item_identity(index).path[-12:]
        return body["verdict"] in expected and body["code"]["serial"] == serial and _own(body)

    def _own(body: dict[str, object]) -> bool:
        history = body["history"]
        return history is None or (isinstance(history, dict) and history["scans"] <= 1)

    async def all_of_them(service: ScanService) -> list[bool]:
        await delay.start()
        rounds = []
        for _ in range(4):
            rounds += await asyncio.gather(*(one(service, index) for index in range(100)))
        return rounds

    for index in range(100):
        registry.item(index)
    with ScanService(make.settings(addresses, registry.room, scan_redis_url=url, scan_redis_ms=200)) as service:
        assert all(service.do(all_of_them(service)))
        service.do(delay.close())
