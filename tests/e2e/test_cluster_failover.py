"""A primary of the cluster is killed while people scan through two processes and two workers drain and project."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import Engine, text

from tests.scanweb import test_process as process
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import ScanAuthority
from zpcode.embedded.cluster import EmbeddedCluster
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Unavailable
from zpcode.projection import client, library
from zpcode.wire import card, redis_keys
from zpcode.wire.functions.library import LIBRARY
from zpcode.wire.redis_cluster import slot_of
from zpcode.wire.scan_event import AT_ONCE
from zpcode.wire.vocabulary import State

pytestmark = pytest.mark.proof

ITEMS = 36
VISITORS = 3  # for each process
_WORKER = "from zpcode import settings, worker; worker.main(settings.load())"


def _batch_on(shard: int) -> int:
    return next(number for number in range(1, 1000) if slot_of(f"zp:{{b:{number}}}") * 3 // 16384 == shard)


BATCHES = [_batch_on(shard) for shard in range(3)]


@dataclass
class Crowd:
    """Visitors who scan all codes again and again. `green` has, for each path, the ports whose last response was green."""

    ports: tuple[int, ...]
    paths: list[str]
    scans: int = 0
    failed: list[str] = field(default_factory=list)
    last: dict[tuple[str, int], str] = field(default_factory=dict)
    final: set[str] = field(default_factory=set)
    relapsed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def scanning(self) -> Iterator[None]:
        """Scan until the block ends."""
        threads = [
            threading.Thread(target=self._visit, args=(port, number))
            for port in self.ports
            for number in range(VISITORS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def _visit(self, port: int, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Accept": "application/json", "User-Agent": f"{make.IPHONE} {port} {number}"}
        paths = self.paths[number * 7 :] + self.paths[: number * 7]
        while not self.stop.is_set():
            for path in paths:
                settled = path in self.final  # every process had shown the revocation before this request
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                self.scans += 1
                if answer.status != 200:
                    self.failed.append(f"{answer.status} {path}")
                    continue
                verdict = json.loads(body)["verdict"]
                self.last[path, port] = verdict
                if settled and verdict == "verified":
                    self.relapsed.append(path)
        connection.close()

    def all_say(self, path: str, verdict: str) -> bool:
        """Whether the last response of every process was like this."""
        return all(self.last.get((path, port)) == verdict for port in self.ports)

    def settle(self, *paths: str) -> None:
        """Wait until every process shows these as revoked; from now on no response may be green."""
        for path in paths:
            eventually(lambda path=path: self.all_say(path, "revoked"), seconds=60)  # type: ignore[misc]
        self.final.update(paths)


@contextmanager
def _worker(addresses: ServerAddresses, cluster: EmbeddedCluster, home: Path, number: int) -> Iterator[None]:
    environment = os.environ | {
        "ZPCODE_HOME": str(home),
        "ZPCODE_DATABASE_URL": addresses.database,
        "ZPCODE_REDIS_URL": cluster.addresses.redis,
    }
    with (home / f"worker-{number}.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "-c", _WORKER], env=environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def _revoke(registry: ScanAuthority, number: int, index: int) -> str:
    """Revoke one item in the database and, as far as the cluster answers, in Redis; returns its path."""
    cards = {
        card.item_key(number, index): make.standing(State.REVOKED),
        card.batch_key(number): make.batch(number, exceptions=True),
    }
    with suppress(Unavailable):  # it is in the database; the workers project it
        registry.put(cards)
    return registry.item(index, number)


def _ready(port: int) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).json()
    return document


@pytest.mark.parametrize("replicas", [1, 0], ids=["with replicas", "without replicas"])
def test_a_primary_is_killed_while_people_scan(
    replicas: int, addresses: ServerAddresses, engine: Engine, tmp_path: Path
) -> None:
    """No request fails, no revoked code turns green again, every scan is stored or counted as lost."""
    with ExitStack() as stack:
        cluster = stack.enter_context(EmbeddedCluster(tmp_path / "cluster", replicas=replicas, timeout_ms=1500))
        redis = stack.enter_context(closing(client.connect(cluster.addresses.redis)))
        registry = ScanAuthority(engine, cast("Any", redis), *make.room_in(tmp_path))
        registry.commit({card.product_key(make.GTIN): make.product()})
        registry.commit({card.batch_key(number): make.batch(number) for number in BATCHES})
        eventually(lambda: _caught_up(registry))
        before = [_revoke(registry, number, 0) for number in BATCHES]
        paths = [registry.item(index, number) for index in range(ITEMS) for number in BATCHES]
        environment = process.environment(addresses, registry) | {
            "ZPCODE_SCAN_REDIS_URL": cluster.addresses.scan_redis,
            "ZPCODE_REFUSAL_FLOOR_MS": "0",
        }
        private_ports = process.free_port(), process.free_port()
        ports = tuple(
            int(stack.enter_context(process.running(own, tmp_path / f"scan-{number}"))[1].rpartition(":")[2])
            for number, own in enumerate(environment | {"ZPCODE_METRICS_ADDRESS": str(port)} for port in private_ports)
        )
        for number in range(2):
            stack.enter_context(_worker(addresses, cluster, tmp_path, number))
        crowd = Crowd(ports, paths)
        with crowd.scanning():
            crowd.settle(*before)
            for turn, killed in enumerate(_victims(cluster, replicas), 1):
                just_before = [_revoke(registry, number, turn) for number in BATCHES]
                cluster.kill(killed)
                during = [_revoke(registry, number, 10 + turn) for number in BATCHES]
                crowd.settle(*just_before, *during)
                if not replicas:
                    cluster.start(killed)  # empty
                eventually(lambda: _caught_up(registry), seconds=60)
                after = [_revoke(registry, number, 20 + turn) for number in BATCHES]
                crowd.settle(*after)
                eventually(lambda: all(_ready(port)["answers_from"] == "redis" for port in private_ports), seconds=60)
            for key in (
                redis_keys.SCANS,
                *(f"zp:{{b:{number}}}" for number in BATCHES),
            ):  # replicas had it by replication
                promoted: Any = cluster.client(cluster.holder(key))
                assert LIBRARY in library.names(promoted.function_list())
            scans_before = crowd.scans
            eventually(lambda: crowd.scans > scans_before + 200, seconds=60)
        assert crowd.failed == []
        assert crowd.relapsed == []
        assert all(crowd.all_say(path, "revoked") for path in crowd.final)
        untouched = [registry.item(index, number) for index in range(24, ITEMS) for number in BATCHES]
        assert all(crowd.all_say(path, "verified") for path in untouched)
        _all_accounted_for(engine, redis, private_ports, crowd, replicas)


def _victims(cluster: EmbeddedCluster, replicas: int) -> list[int]:
    """The node with the stream of scans; with replicas also the node with the first batch."""
    first = cluster.holder(redis_keys.SCANS)
    second = next(
        cluster.holder(f"zp:{{b:{number}}}") for number in BATCHES if cluster.holder(f"zp:{{b:{number}}}") != first
    )
    return [first, second] if replicas else [first]


def _caught_up(registry: ScanAuthority) -> bool:
    try:
        registry.project()
    except Unavailable:
        return False
    return True


def _all_accounted_for(
    engine: Engine, redis: client.AnyRedis, private_ports: tuple[int, ...], crowd: Crowd, replicas: int
) -> None:
    """Every scan was sent or counted as dropped; every sent scan is stored, except those that a dead primary lost."""
    eventually(lambda: all(_ready(port)["scans"]["waiting"] == 0 for port in private_ports))
    eventually(lambda: _drained(client.holder(redis, redis_keys.SCANS)), seconds=60)
    counts = [_ready(port)["scans"] for port in private_ports]
    sent, dropped = (sum(count[name] for count in counts) for name in ("sent", "dropped"))
    assert sent + dropped == crowd.scans
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM scan")).scalar_one()
        counted = connection.execute(text("SELECT coalesce(sum(scans), 0) FROM item_history")).scalar_one()
    assert counted <= stored <= sent + dropped
    if replicas:  # without a replica, a dead primary loses the scans in its stream
        assert sent - stored <= 2 * len(private_ports) * AT_ONCE, (
            "at most the last round trip of each process and killed primary"
        )


def _drained(redis: Any) -> bool:
    return not redis.exists(redis_keys.INBOX) and redis.xlen(redis_keys.SCANS) == 0
