"""Workers are killed two hundred times while codes are issued and scanned: every code exists once, every scan counts once."""

from __future__ import annotations

import random
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy import Engine, func, select

from tests.e2e import worker_process
from tests.e2e.plant import People, Plant
from tests.faults.scan_processes import environment, scan_process
from tests.support.issuing_fixtures import own_house as house
from tests.support.issuing_setting import KeyHouse
from tests.support.patience import eventually
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.batches import queue as jobs
from zpcode.store.database.session import transaction
from zpcode.store.tables.codes import item_history, scan
from zpcode.wire import redis_keys
from zpcode.wire.payload import Level

__all__ = ["house"]

pytestmark = pytest.mark.proof

KILLS = 200
CHUNK = 128
# Orders in turn, so that workers are killed in all steps of their work: many small files, some of many chunks.
ORDERS = (
    (Level.ITEM, 200), (Level.COMPACT, 400), (Level.PRODUCT, 10), (Level.ITEM, 40), (Level.LOT, 10), (Level.COMPACT, 90),
    (Level.ITEM, 9 * CHUNK + 77), (Level.COMPACT, 20 * CHUNK + 7),
)  # fmt: skip


@pytest.fixture
def plant(engine: Engine, redis: Redis, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path) -> Plant:
    """An installation in which only the signer runs."""
    return Plant(engine, redis, addresses, house, tmp_path)


@pytest.mark.timeout(600)
def test_two_hundred_kills_leave_no_trace(plant: Plant, tmp_path: Path) -> None:
    """SIGKILL at random moments to one of two workers during orders and scans; then fsck --deep."""
    chance, paths = random.Random(20261121), plant.codes(200)
    large: list[int] = []
    with (
        scan_process(environment(plant.addresses, plant.house.room), tmp_path / "scan.log") as service,
        jobs.IssueQueue(plant.addresses.database) as queue,
        People([service], paths) as people,
    ):
        workers = [plant.worker(f"worker-{slot}", chunk=CHUNK) for slot in range(2)]
        at_work = 0
        for kill in range(KILLS):
            level, quantity = ORDERS[kill % len(ORDERS)]
            number = plant.order(queue, level, quantity)
            large += [number] if quantity > 5 * CHUNK else []
            time.sleep(chance.uniform(0.02, 0.2))
            slot = chance.randrange(2)
            assert worker_process.ended(workers[slot], signal.SIGKILL) == -signal.SIGKILL
            at_work += any(plant.folder.path.glob("*.part")) or bool(
                plant.redis.exists(redis_keys.INBOX) or plant.redis.xlen(redis_keys.SCANS)
            )
            workers[slot] = plant.worker(f"worker-{slot}", chunk=CHUNK)
        people.end()
        eventually(plant.at_rest, seconds=120)
        assert plant.fsck() == []
        assert [worker_process.ended(worker, signal.SIGTERM) for worker in workers] == [0, 0]
    assert at_work > KILLS / 10, "hardly a worker was killed at work"
    _check_scans(plant, people, paths)
    assert all(plant.same_as_in_one_go(number, tmp_path / "again") for number in large)


def _check_scans(plant: Plant, people: People, paths: list[str]) -> None:
    """Each scan has the next number of its code, and is once in the database and once in the item's history."""
    for outcomes in people.outcomes.values():
        assert outcomes == [("verified", number) for number in range(1, len(outcomes) + 1)]
    views = people.views()
    with transaction(plant.engine) as connection:
        assert connection.execute(select(func.count()).select_from(scan)).scalar_one() == sum(views.values())
        histories = connection.execute(select(item_history.c["index"], item_history.c.scans))
        assert {row[0]: row[1] for row in histories} == {paths.index(path): number for path, number in views.items()}


def _metric(port: int, name: str) -> float:
    """One metric of a worker."""
    page = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return float(re.findall(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def test_two_workers_and_two_scan_processes_share_the_work(plant: Plant, tmp_path: Path) -> None:
    """Both workers issue, both drain, and no entry of the stream is handled by both."""
    paths = plant.codes(40)
    ports = [_free_port() for _ in range(2)]
    settings = environment(plant.addresses, plant.house.room)
    with ExitStack() as stack, jobs.IssueQueue(plant.addresses.database) as queue:
        services = [stack.enter_context(scan_process(settings, tmp_path / f"scan-{slot}.log")) for slot in range(2)]
        people = stack.enter_context(People(services, paths))
        workers = [plant.worker(f"worker-{slot}", chunk=CHUNK, metrics=str(port)) for slot, port in enumerate(ports)]
        for level, quantity in 3 * ORDERS:
            plant.order(queue, level, quantity)
        eventually(lambda: all(_drained(port) > 0 for port in ports))
        people.end()
        eventually(plant.at_rest, seconds=60)
        entries: Any = plant.redis.xinfo_stream(redis_keys.SCANS)
        eventually(lambda: sum(map(_drained, ports)) == entries["entries-added"])
        assert all(_metric(port, 'zpcode_worker_batches_total{outcome="issued"}') > 0 for port in ports)
        consumers: Any = plant.redis.xinfo_consumers(redis_keys.SCANS, redis_keys.SCAN_GROUP)
        assert {consumer["name"] for consumer in consumers} == {b"worker-0", b"worker-1"}
        assert plant.fsck() == []
        assert [worker_process.ended(worker, signal.SIGTERM) for worker in workers] == [0, 0]
    _check_scans(plant, people, paths)


def _drained(port: int) -> float:
    try:
        return _metric(port, "zpcode_worker_stream_entries_drained_total")
    except (httpx.TransportError, IndexError):
        return 0
