"""Logs and metrics of the real processes: a worker whose database stands still, and data that no log may have."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import scan_factories as make
from tests.support.authority import OPERATOR, as_
from tests.support.exposed import Exposed
from tests.support.frozen import frozen
from tests.support.keyroom import PASSPHRASE, RunningSigner
from tests.support.patience import eventually
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.scan_factories import ScanAuthority
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.rules.access import Role
from zpcode.services import access
from zpcode.services.registry.importing import import_registry
from zpcode.telemetry.logs import MAX_REPEATS
from zpcode.wire import redis_keys

ADDRESS, AGENT = "198.51.100.44", "Telltale-Phone/77.31"
UVICORN = [sys.executable, "-m", "uvicorn", "--factory", "--no-server-header", "--no-access-log", "--no-proxy-headers", "--host", "127.0.0.1"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """One process: its public port and the port of its metrics (0: none), and its log."""

    process: subprocess.Popen[bytes]
    port: int
    metrics: int
    log: Path

    def page(self, path: str) -> httpx.Response:
        """One page at the port of its metrics."""
        return httpx.get(f"http://127.0.0.1:{self.metrics}{path}", timeout=10)

    def exposed(self) -> Exposed:
        """Its metrics."""
        return Exposed(self.page("/metrics").text)


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def _running(name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """A process and its metrics; ended with SIGTERM at the end."""
    port, metrics, log = _free(), _free(), folder / f"{name}.log"
    if "uvicorn" in command:
        command = [*command, "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment | {"ZPCODE_METRICS_ADDRESS": str(metrics)},
            stdout=output,
            stderr=output,
        )
    running = Running(process, port, metrics, log)
    try:
        eventually(lambda: process.poll() is not None or _answers(running), seconds=60)
        assert process.poll() is None, log.read_text("utf-8")
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _answers(running: Running) -> bool:
    try:
        return running.page("/metrics").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def signer() -> Iterator[RunningSigner]:
    """A signer with one active key."""
    with RunningSigner() as signer:
        yield signer


@pytest.fixture
def environment(addresses: ServerAddresses, signer: RunningSigner, tmp_path: Path) -> dict[str, str]:
    """The settings of every process."""
    return {
        "ZPCODE_HOME": str(tmp_path),
        "ZPCODE_DATABASE_URL": addresses.database,
        "ZPCODE_REDIS_URL": addresses.redis,
        "ZPCODE_SCAN_DATABASE_URL": addresses.scan_database,
        "ZPCODE_SCAN_REDIS_URL": addresses.scan_redis,
        "ZPCODE_KEYRING": str(signer.room.keyring),
        "ZPCODE_ROOT_PUBLIC": str(signer.room.root_public),
        "ZPCODE_SIGNER_SOCKET": str(signer.socket),
        "ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8",
        "ZPCODE_REFUSAL_FLOOR_MS": "0",
    }


WORKER = [sys.executable, "-m", "zpcode", "worker"]


def test_a_worker_says_within_bounds_that_its_database_stands_still(
    environment: dict[str, str], servers: Servers, tmp_path: Path
) -> None:
    """Not ready, but alive, because a restart would not help. Its metrics answer all the time."""
    with _running("worker", WORKER, environment, tmp_path) as worker:
        eventually(lambda: worker.page("/readyz").status_code == 200)
        eventually(lambda: sum(worker.exposed().value("zpcode_part_up", part=part) for part in ("database", "redis", "signer")) == 3)  # fmt: skip
        with frozen(servers.processes.pid("postgres")):
            eventually(lambda: worker.page("/readyz").status_code == 503, seconds=60)
            assert "project_once" in eventually(lambda: worker.page("/readyz").json()["waiting"])
            eventually(lambda: worker.exposed().value("zpcode_part_up", part="database") == 0, seconds=60)
            assert worker.exposed().value("zpcode_part_up", part="redis") == 1
            assert worker.page("/healthz").status_code == 200
        eventually(lambda: worker.page("/readyz").status_code == 200, seconds=60)
        eventually(lambda: worker.exposed().value("zpcode_part_up", part="database") == 1)
    lines = _lines(worker.log)
    assert {line["service"] for line in lines} == {"worker"}
    waits = [line for line in lines if line["message"].endswith(" waits")]
    assert 0 < len(waits) < 60, "logged when it began, not at every turn"


def test_no_log_and_no_metric_tells_who_scanned_what(
    environment: dict[str, str],
    engine: Engine,
    redis: Redis,
    servers: Servers,
    signer: RunningSigner,
    tmp_path: Path,
) -> None:
    """Real processes get scans, API requests, malformed requests and outages; then every line and every metric is searched."""
    now = datetime.now(UTC)
    authority = ScanAuthority(engine, redis, signer.room, signer.key_id)
    authority.everything()
    import_registry(engine, as_json(registry()), actor=OPERATOR.name, now=now)
    token = access.create(engine, Role.ENTERPRISE, uscc(), "a test", caller=OPERATOR, now=now).token
    with ExitStack() as stack:
        scan = stack.enter_context(_running("scan", [*UVICORN, "--http", "httptools", "scanweb.app:create_app"], environment, tmp_path))  # fmt: skip
        api = stack.enter_context(
            _running(
                "authority",
                [*UVICORN, "--http", "zpcode.server:AuthorityProtocol", "zpcode.app:create_app"],
                environment,
                tmp_path,
            )
        )
        worker = stack.enter_context(_running("worker", WORKER, environment, tmp_path))
        _scan(scan, authority, redis)
        _ask(api, token)
        for running in (scan, api):
            _insult(running.port)
        with frozen(servers.processes.pid("valkey")):
            _scan_through(scan, authority)
        exposed = [running.exposed() for running in (scan, api, worker)]
    logs = {running.log.name: running.log.read_text("utf-8") for running in (scan, api, worker)}
    logs["signer"] = (signer.home / "stderr").read_text("utf-8") + signer.log.read_text("utf-8")
    secrets = _secrets(authority, token, environment)
    assert _telling(logs, secrets) == []
    assert _telling({str(number): " ".join(page.label_values()) for number, page in enumerate(exposed)}, secrets) == []
    assert exposed[0].value("zpcode_scan_answers_total", verdict="verified") > 100
    assert len(logs["scan.log"].splitlines()) < 3 * MAX_REPEATS, "no line for each scan or insult, whatever happens"
    for name in ("scan.log", "authority.log", "worker.log"):
        assert _lines(tmp_path / name), name


def _scan(scan: Running, authority: ScanAuthority, redis: Redis) -> None:
    """Scan as a phone behind a proxy, until the scan is in the stream or drained."""
    headers = {"User-Agent": f"{make.IPHONE} {AGENT}", "X-Forwarded-For": ADDRESS, "Accept-Language": "zh-CN,telltale;q=0.1"}  # fmt: skip
    with httpx.Client(base_url=f"http://127.0.0.1:{scan.port}", headers=headers) as http:
        eventually(lambda: http.get("/readyz").status_code == 200)
        for index in range(30):
            assert http.get(authority.item(index)).status_code == 200
        http.get(authority.item(0)[:-4] + "ZZZZ")
        http.get("/q", params={"code": make.item_identity(3).path.rsplit("/", 1)[1]})
        http.get("/telltale-path?telltale=query")
    assert redis.exists(redis_keys.INBOX, redis_keys.SCANS)


def _scan_through(scan: Running, authority: ScanAuthority) -> None:
    """Scan while Redis stands still: the database answers, and the log has no line for each scan."""
    with httpx.Client(base_url=f"http://127.0.0.1:{scan.port}", headers={"User-Agent": AGENT, "X-Forwarded-For": ADDRESS}) as http:  # fmt: skip
        for index in range(100):
            assert http.get(authority.item(index % 40)).status_code == 200


def _ask(api: Running, token: str) -> None:
    """Send an order, a wrong key, an invalid body, an unknown path."""
    headers = as_(token) | {"User-Agent": AGENT, "X-Forwarded-For": ADDRESS}
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", headers=headers, timeout=30) as http:
        eventually(lambda: http.get("/readyz").status_code == 200)
        order = {"level": "item", "gtin": gtin(), "quantity": 10}
        assert http.post("/v1/batches", json=order, headers={"Idempotency-Key": "telltale-key"}).status_code == 202
        http.post("/v1/batches", content=b'{"telltale-body', headers={"Content-Type": "application/json"})
        http.get("/v1/batches", headers={"Authorization": "Bearer zpk_telltale_secret"})
        http.get("/v1/batches/telltale-number?telltale=query")


def _insult(port: int) -> None:
    """Send invalid HTTP and an incomplete request, about which uvicorn writes log lines."""
    for sent in (b"TELLTALE-NOISE \x00\xff\r\n\r\n", b"GET /telltale-cut HTTP/1.1\r\nX-Telltale: "):
        for _ in range(MAX_REPEATS * 4):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(sent)


def _secrets(authority: ScanAuthority, token: str, environment: Mapping[str, str]) -> list[str]:
    passwords = [url.split(":")[2].split("@")[0] for name, url in environment.items() if name.endswith("_URL")]
    return [
        ADDRESS,
        "198.51.100",
        AGENT,
        "elltale",
        "ELLTALE",
        authority.item(0),
        authority.item(0).split("/")[1],
        make.item_identity(0).path.rsplit("/", 1)[1],
        token.split("_")[2],
        PASSPHRASE.decode(),
        *passwords,
    ]


def _telling(texts: Mapping[str, str], secrets: list[str]) -> list[tuple[str, str]]:
    return [(name, secret) for name, text in texts.items() for secret in secrets if secret in text]


def _lines(log: Path) -> list[dict[str, Any]]:
    """Every line of a log, parsed as JSON."""
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()]
