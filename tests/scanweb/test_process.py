"""A scan process as in production: uvicorn, settings from the environment, real HTTP, SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import ScanAuthority
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import redis_keys


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process, and its address."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--factory",
        "scanweb.app:create_app",
        "--port",
        str(port),
        "--no-access-log",
        "--http",
        "scanweb.server:Protocol",
        "--loop",
        "uvloop",
    ]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=os.environ | environment, stderr=errors, stdout=errors)
    try:
        eventually(lambda: _answers(port))
        yield process, f"http://127.0.0.1:{port}"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


def environment(addresses: ServerAddresses, registry: ScanAuthority) -> dict[str, str]:
    return {
        "ZPCODE_SCAN_DATABASE_URL": addresses.scan_database,
        "ZPCODE_SCAN_REDIS_URL": addresses.scan_redis,
        "ZPCODE_KEYRING": str(registry.room.keyring),
        "ZPCODE_ROOT_PUBLIC": str(registry.room.root_public),
        "ZPCODE_TRUSTED_PROXIES": "127.0.0.0/8",
    }


def test_a_process_answers_over_http_and_leaves_nothing_behind(
    addresses: ServerAddresses, registry: ScanAuthority, tmp_path: Path
) -> None:
    with running(environment(addresses, registry), tmp_path / "log") as (process, base):
        client = {"user-agent": make.IPHONE, "x-forwarded-for": "198.51.100.44"}
        page = httpx.get(base + registry.item(), headers=client)
        assert (page.status_code, "验证通过" in page.text) == (200, True)
        assert httpx.get(base + registry.item()[:-13] + "%2F").status_code == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}
    assert registry.redis.llen(redis_keys.INBOX) == 1, "the scan that waited was sent before the end"
    log = (tmp_path / "log").read_text()
    assert [json.loads(line)["service"] for line in log.splitlines()] != []
    assert "198.51.100" not in log


def test_a_process_without_a_trusted_keyring_does_not_start(
    addresses: ServerAddresses, registry: ScanAuthority, tmp_path: Path
) -> None:
    (tmp_path / "keyring.json").write_bytes(registry.room.keyring.read_bytes().replace(b"active", b"retired"))
    settings = os.environ | environment(addresses, registry) | {"ZPCODE_KEYRING": str(tmp_path / "keyring.json")}
    command = [sys.executable, "-c", "from scanweb.app import create_app; create_app()"]
    result = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "keyring cannot be trusted" in result.stderr
