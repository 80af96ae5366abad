"""Scan processes as they run in production: one uvicorn process on its own port each."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from keys.ceremony import KeyRoom
from tests.support import scan_factories as make
from tests.support.patience import eventually
from zpcode.embedded.servers import ServerAddresses

APP = "scanweb.app:create_app"
PROTOCOL = "scanweb.server:Protocol"
TUNED_PROTOCOL = "tests.faults.tuned_protocol:Protocol"
SHIFTED = "tests.faults.shifted_clock:create_app"


@dataclass(frozen=True, slots=True)
class ScanProcess:
    """One running process, the port it listens on, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def base(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, *, visitor: str = "", **headers: str) -> httpx.Response:
        """One request from a phone, on a new connection. `visitor` is the address it comes from."""
        sent = {"user-agent": make.IPHONE, "accept-language": "en"}
        sent |= {"x-forwarded-for": visitor} if visitor else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(self.base + path, headers=sent, timeout=30)

    def verdict(self, path: str, **how: str) -> str:
        """The public verdict."""
        return str(self.get(path, accept="application/json", **how).json()["verdict"])

    def memory_kib(self) -> int:
        """Its resident memory in KiB (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(status.partition("VmRSS:")[2].split()[0])


def environment(addresses: ServerAddresses, room: KeyRoom, **more: str) -> dict[str, str]:
    """Settings of a scan process on the test servers: X-Forwarded-For is trusted, the database timeout is long, no refusal floor."""
    return {
        "ZPCODE_SCAN_DATABASE_URL": addresses.scan_database,
        "ZPCODE_SCAN_REDIS_URL": addresses.scan_redis,
        "ZPCODE_KEYRING": str(room.keyring),
        "ZPCODE_ROOT_PUBLIC": str(room.root_public),
        "ZPCODE_PUBLIC_BASE": "https://zpm.example",
        "ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8",
        "ZPCODE_REFUSAL_FLOOR_MS": "0",
        "ZPCODE_SCAN_REDIS_MS": "200",
        "ZPCODE_SCAN_DATABASE_MS": "5000",
    } | more


@contextmanager
def scan_process(
    settings: Mapping[str, str], log: Path, *, app: str = APP, protocol: str = PROTOCOL
) -> Iterator[ScanProcess]:
    """A scan process that answers; killed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "--no-proxy-headers", "--no-server-header", "--no-access-log",
               "--http", protocol, "--ws", "none", "--loop", "uvloop", "--backlog", "16384", "--port", str(port), app]  # fmt: skip
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=os.environ | settings, stderr=errors, stdout=errors)
    running = ScanProcess(process, port, log)
    try:
        eventually(lambda: _answers(running))
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def _answers(scan: ScanProcess) -> bool:
    assert scan.process.poll() is None, scan.log.read_text("utf-8", "replace")
    try:
        return scan.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False
