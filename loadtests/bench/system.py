"""A running system to measure: embedded servers, a signer, the demo registry, one issued batch, and scan processes.

There is no worker and no API process, so that they cannot influence a figure.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from redis import Redis
from sqlalchemy import Engine

from keys.client import SignerClient
from zpcode.demo import seed
from zpcode.demo.ports import free_port
from zpcode.embedded.processes import Processes
from zpcode.embedded.servers import ServerAddresses, Servers, secret_file
from zpcode.errors import Refused, SignerUnavailable
from zpcode.projection import projector
from zpcode.rules.batches.batch import Batch, BatchRequest
from zpcode.services.batches import code_file, file_keys, issue, reserve
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.store.database.session import connect, transaction
from zpcode.store.registry import records
from zpcode.wire.link import path_of
from zpcode.wire.payload import Level

READY_SECONDS = 60
BASE: Final = "http://127.0.0.1:8701"
SCAN: Final = "scanweb.app:create_app"
UVICORN: Final = ("uvicorn", "--no-server-header", "--no-access-log", "--no-proxy-headers",
                  "--http", "scanweb.server:Protocol", "--loop", "uvloop")  # fmt: skip
GRANIAN: Final = ("granian", "--interface", "asgi", "--loop", "uvloop", "--runtime-mode", "st", "--no-access-log",
                  "--log-level", "warning")  # fmt: skip


@dataclass(frozen=True, slots=True)
class BenchSystem:
    """The running system. `paths` are the item codes of `batch` in the order of their index, `ports` the scan processes'.

    `private_ports` are the ports of their metrics, by port.
    """

    home: Path
    addresses: ServerAddresses
    engine: Engine
    redis: Redis
    batch: Batch
    paths: tuple[str, ...]
    processes: Processes
    environment: Mapping[str, str]
    ports: list[int] = field(default_factory=list)
    private_ports: dict[int, int] = field(default_factory=dict)

    def serve(self, name: str, application: str, *, server: Sequence[str] = UVICORN, **environment: str) -> int:
        """Start one server process on a free port, wait until it is ready, and return the port."""
        port = free_port("127.0.0.1", 18701 + len(self.ports))
        private = free_port("127.0.0.1", 19701 + len(self.ports))
        command = [sys.executable, "-m", *server, "--port", str(port), application]
        self.processes.start(
            name, command, env={**self.environment, "ZPCODE_METRICS_ADDRESS": str(private), **environment}
        )
        _wait_until_ready(port)
        self.ports.append(port)
        self.private_ports[port] = private
        return port

    def state(self, port: int) -> dict[str, Any]:
        """The state of a scan process, from /readyz on its private port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.private_ports[port]}/readyz") as response:
            document: dict[str, Any] = json.load(response)
        return document


@contextmanager
def running(codes: int, scan_processes: int) -> Iterator[BenchSystem]:
    """Start the system with one batch of `codes` item codes; stop it and delete its files afterwards."""
    with tempfile.TemporaryDirectory(prefix="zpcode-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o711)
        addresses = stack.enter_context(Servers(home)).addresses
        environment = _environment(home, addresses)
        for step in (["init"], ["create"], ["create", "--purpose", "audit-head"]):
            subprocess.run([sys.executable, "-m", "keys", *step], env=os.environ | environment, check=True,  # noqa: S603 - our own command
                           stdout=subprocess.DEVNULL)  # fmt: skip
        processes = Processes(home / "log")
        stack.callback(processes.stop)
        processes.start("signer", [sys.executable, "-m", "keys", "serve"], env=environment)
        seed.seed_registry(home, addresses)
        engine = connect(addresses.database)
        stack.callback(engine.dispose)
        redis = Redis.from_url(addresses.redis)
        stack.callback(redis.close)
        batch = _issued(engine, home, codes)
        projector.catch_up(engine, redis)
        system = BenchSystem(home, addresses, engine, redis, batch, _paths(home, batch), processes, environment)
        for number in range(scan_processes):
            system.serve(f"scanweb-{number}", SCAN, server=(*UVICORN, "--factory"))
        yield system


def _environment(home: Path, addresses: ServerAddresses) -> Mapping[str, str]:
    return {
        "ZPCODE_HOME": str(home),
        "ZPCODE_SCAN_DATABASE_URL": addresses.scan_database,
        "ZPCODE_SCAN_REDIS_URL": addresses.scan_redis,
        "ZPCODE_TRUSTED_PROXIES": "127.0.0.1/32",  # each visitor has another address, as behind a balancer
        "ZPCODE_KEY_PASSPHRASE_FILE": str(secret_file(home / "secrets", "signing-key")),
        "ZPCODE_ROOT_PASSPHRASE_FILE": str(secret_file(home / "secrets", "root-key")),
    }


def reserved(engine: Engine, codes: int) -> Batch:
    """A reserved batch of the first product whose enterprise has a quota for so many codes."""
    with transaction(engine) as connection:
        gtins = records.all_gtins(connection)
    for gtin in gtins:
        request = BatchRequest(Level.ITEM, gtin, codes)
        with suppress(Refused):
            return reserve.reserve(
                engine,
                request,
                caller=seed.DEMO,
                idempotency_key=f"bench-{gtin}-{codes}",
                base=BASE,
                now=datetime.now(UTC),
            )
    raise SystemExit(f"no enterprise of the demo registry has a quota for {codes} codes")


def _issued(engine: Engine, home: Path, codes: int) -> Batch:
    number = reserved(engine, codes).number
    with SignerClient(home / "run" / "signer.sock") as signer:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                signer.active_key()
                break
            except SignerUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        return issue.issue(engine, signer, number, folder=_folder(home), clock=lambda: datetime.now(UTC))


def _folder(home: Path) -> CodeFolder:
    folder = CodeFolder(home / "exports", home / "secrets" / "files.key")
    file_keys.create(folder.key_file)
    return folder


def _paths(home: Path, batch: Batch) -> tuple[str, ...]:
    return tuple(path_of(url) for url in code_file.first_urls(batch, _folder(home), batch.codes))


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
        time.sleep(0.05)
    raise SystemExit(f"the scan service on port {port} did not become ready")


class Visitor:
    """One phone: a persistent connection, and its own User-Agent so that its views of a code count once."""

    def __init__(self, port: int, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        self._headers = {"Accept": "application/json", "User-Agent": f"zpcode-bench {name}"}

    def scan(self, path: str) -> dict[str, Any]:
        """The service's answer about a code, as JSON."""
        self._connection.request("GET", path, headers=self._headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
