"""A restore under a running installation: API, worker, signer and scan service stay up, and the operator brings it forward."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from redis import Redis
from sqlalchemy import Engine

from tests.e2e import worker_process
from tests.e2e.plant import Plant
from tests.faults.scan_processes import environment, scan_process
from tests.support import issuing_setting, restores
from tests.support.issuing_setting import KeyHouse
from tests.support.patience import eventually
from tests.support.recover_command import offered
from tests.support.registry_data import gtin
from tests.support.status_setting import OPERATOR
from zpcode import app
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.access import Role
from zpcode.services import access

pytestmark = pytest.mark.proof


@pytest.fixture
def house(tmp_path: Path) -> Iterator[KeyHouse]:
    """A key room and its signer, which signs for this test alone."""
    made = issuing_setting.key_house(tmp_path / "kh")
    with made.signer():
        yield made


@pytest.fixture
def plant(engine: Engine, redis: Redis, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path) -> Plant:
    """An installation in which only the signer runs."""
    return Plant(engine, redis, addresses, house, tmp_path)


@contextmanager
def _api(plant: Plant) -> Iterator[httpx.Client]:
    """The API as in production, and a client with the operator's key."""
    token = access.create(plant.engine, Role.OPERATOR, "*", label="test", caller=OPERATOR, now=datetime.now(UTC)).token
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app.create(plant.settings), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
            yield client
        server.should_exit = True
        thread.join(20)


def _ordered(api: httpx.Client, key: str) -> httpx.Response:
    body = {"level": "item", "gtin": gtin(1), "quantity": 40}
    return api.post("/v1/batches", json=body, headers={"Idempotency-Key": key})


def _revoked(api: httpx.Client, path: str) -> httpx.Response:
    body = {"scope": "code", "target": path, "action": "revoke", "reason": "counterfeit-confirmed", "legal_basis": "x"}
    return api.post("/v1/status-changes", json=body)


def _recover(plant: Plant, *more: str) -> subprocess.CompletedProcess[str]:
    names = ("home", "database_url", "redis_url", "keyring", "root_public", "file_key", "signer_socket")
    environ = {f"ZPCODE_{name.upper()}": str(getattr(plant.settings, name)) for name in names}
    command = [sys.executable, "-m", "zpcode", "recover", *more]
    return subprocess.run(command, env=os.environ | environ, check=False, capture_output=True, text=True)


def test_a_restore_under_a_running_installation_loses_no_code_and_no_decision(plant: Plant, tmp_path: Path) -> None:
    """No process is restarted and no connection is closed: nobody tells the processes that the database is another one."""
    first = plant.codes(50)
    with ExitStack() as stack:
        scans = stack.enter_context(scan_process(environment(plant.addresses, plant.house.room), tmp_path / "scan.log"))
        api = stack.enter_context(_api(plant))
        worker = plant.worker("worker")
        stack.callback(worker_process.ended, worker, signal.SIGTERM)
        dumped = restores.dump(plant.addresses)

        number = _ordered(api, "after").json()["number"]
        eventually(lambda: plant.batch(number).sha256 != "", seconds=60)
        later = plant.paths(number)
        assert [_revoked(api, path).status_code for path in (first[3], later[5])] == [201, 201]
        assert [scans.verdict(path) for path in (first[3], later[5], later[6])] == ["revoked", "revoked", "verified"]

        restores.restore(plant.addresses, dumped)
        refused = [_ordered(api, "again"), _revoked(api, first[7])]
        assert {(one.status_code, one.json()["type"]) for one in refused} == {(503, "/problems/database-behind")}
        assert api.get("/v1/batches").status_code == 200
        assert [scans.verdict(path) for path in (first[3], later[5], later[6])] == ["revoked", "revoked", "verified"]

        shown = _recover(plant)
        assert (shown.returncode, f"batch {number} restored as issued" in shown.stdout) == (1, True), shown.stdout
        applied = _recover(plant, *offered(shown.stdout, "--apply")[1:])
        assert (applied.returncode, "recovered (number 1)" in applied.stdout) == (1, True), (
            applied.stdout + applied.stderr
        )
        assert [scans.verdict(path) for path in (first[3], later[5])] == ["revoked", "revoked"]
        confirmed = _recover(plant, *offered(applied.stdout, "--confirm-all")[1:])
        assert confirmed.returncode == 0, confirmed.stdout + confirmed.stderr
        assert _recover(plant).returncode == 0

        eventually(lambda: [scans.verdict(path) for path in (first[3], later[5], later[6])] == ["revoked", "revoked", "verified"])  # fmt: skip
        assert _revoked(api, first[7]).status_code == 201
        new = _ordered(api, "again")
        assert (new.status_code, new.json()["number"] > number) == (202, True)
        eventually(lambda: plant.batch(new.json()["number"]).sha256 != "", seconds=60)
        eventually(plant.at_rest, seconds=60)
        assert plant.fsck() == []
