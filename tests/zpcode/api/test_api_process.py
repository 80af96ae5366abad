"""The API as it runs in production: uvicorn, settings from the environment, a real signer, JSON logs."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support.authority import OPERATOR, as_
from tests.support.code_folders import code_folder
from tests.support.keyroom import RunningSigner
from tests.support.registry_data import as_json, gtin, registry, uscc
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.access import Role
from zpcode.services import access
from zpcode.services.batches import issue
from zpcode.services.registry.importing import import_registry


@pytest.fixture
def signer() -> Iterator[RunningSigner]:
    """A signer with one active key."""
    with RunningSigner() as running:
        yield running


def test_from_an_order_to_the_file_and_a_clean_end(
    engine: Engine, addresses: ServerAddresses, signer: RunningSigner, tmp_path: Path, root: Path
) -> None:
    """Readiness, one item batch, end by SIGTERM; the log is JSON without secrets."""
    now = datetime.now(UTC)
    import_registry(engine, as_json(registry()), actor=OPERATOR.name, now=now)
    token = access.create(engine, Role.ENTERPRISE, uscc(), "a test", caller=OPERATOR, now=now).token
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = os.environ | {
        "ZPCODE_HOME": str(tmp_path),
        "ZPCODE_DATABASE_URL": addresses.database,
        "ZPCODE_REDIS_URL": addresses.redis,
        "ZPCODE_KEYRING": str(signer.room.keyring),
        "ZPCODE_ROOT_PUBLIC": str(signer.room.root_public),
        "ZPCODE_SIGNER_SOCKET": str(signer.socket),
        "ZPCODE_FILE_KEY": str(code_folder(tmp_path / "exports").key_file),
        "ZPCODE_PUBLIC_BASE": "https://zpm.example",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "--no-server-header", "--no-access-log",
               "--host", "127.0.0.1", "--port", str(port), "--http", "zpcode.server:AuthorityProtocol", "zpcode.app:create_app"]  # fmt: skip
    log = tmp_path / "authority.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=output, stderr=output)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=as_(token), timeout=20) as http:
            _wait_until_ready(http, process)
            order = {"level": "item", "gtin": gtin(), "quantity": 300}
            answer = http.post("/v1/batches", json=order, headers={"Idempotency-Key": "1"})
            assert answer.status_code == 202
            number = answer.json()["number"]
            with SignerClient(signer.socket) as client:
                issue.issue(
                    engine, client, number, folder=code_folder(tmp_path / "exports"), clock=lambda: datetime.now(UTC)
                )
            codes = http.get(f"/v1/batches/{number}/codes").content
            assert hashlib.sha256(codes).hexdigest() == http.get(f"/v1/batches/{number}").json()["file"]["sha256"]
            assert codes.count(b"https://zpm.example/") == 300
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(timeout=20)
    assert status in {0, -signal.SIGTERM}
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    requests = [line for line in lines if line["logger"] == "zpcode.api.access"]
    assert {(line["method"], line["route"], line["status"]) for line in requests} >= {
        ("POST", "/v1/batches", 202),
        ("GET", "/v1/batches/{number}/codes", 200),
    }
    assert not [line for line in lines if line["level"] in {"error", "critical"}]
    assert token.split("_")[2] not in log.read_text("utf-8")
    assert "127.0.0.1" not in "".join(json.dumps(line) for line in requests)


def _wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    """Wait until every part is ready; the process must not end meanwhile."""
    while process.poll() is None:
        try:
            if http.get("/readyz").json()["ready"]:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(process.returncode)
