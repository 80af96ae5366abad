"""The signer is killed in the middle of a batch; keys are rotated and revoked during scans."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from keys.keyring import SealVerdict
from tests.e2e import worker_process
from tests.e2e.plant import People, Plant
from tests.faults.scan_processes import environment, scan_process
from tests.support import issuing_setting as setting
from tests.support.issuing_setting import KeyHouse
from tests.support.keyroom import is_running
from tests.support.patience import eventually
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.batches.batch import BatchState
from zpcode.services.batches import code_file
from zpcode.services.batches import queue as jobs
from zpcode.wire.payload import Level

pytestmark = pytest.mark.proof

CHUNK = 1024


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> KeyHouse:
    """A key room; the test starts its signer."""
    return setting.key_house(tmp_path_factory.mktemp("kh"))


@pytest.fixture
def plant(engine: Engine, redis: Redis, addresses: ServerAddresses, house: KeyHouse, tmp_path: Path) -> Iterator[Plant]:
    """An installation with one worker."""
    built = Plant(engine, redis, addresses, house, tmp_path)
    worker = built.worker("worker", chunk=CHUNK)
    yield built
    assert worker_process.ended(worker, signal.SIGTERM) == 0


def _processes(house: KeyHouse) -> list[int]:
    """The process ids of this key room's signer and its children."""
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and is_running(int(entry.name)):
            try:
                environment_ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"ZPCODE_SIGNER_SOCKET={house.socket}\0".encode() in environment_:
                pids.append(int(entry.name))
    return sorted(pids)


def test_a_signer_that_is_killed_keeps_a_batch_waiting_and_nothing_else(
    plant: Plant, house: KeyHouse, tmp_path: Path
) -> None:
    """The batch shows why it waits; it goes on with the next signer, and the file is the same as without the interruption."""
    with house.signer(), jobs.IssueQueue(plant.addresses.database) as queue:
        number = plant.order(queue, Level.ITEM, 40 * CHUNK)
        compact = plant.order(None, Level.COMPACT, 100)
        eventually(lambda: _written(plant, number) >= 2 * CHUNK)
        first, *others = _processes(house)
        os.kill(first, signal.SIGKILL)
        problem = eventually(lambda: plant.batch(number).problem)
        eventually(lambda: not any(map(is_running, others)))
    written = _written(plant, number)
    assert "签名服务" in problem.zh
    assert "signer" in problem.en
    assert 2 * CHUNK <= written < 40 * CHUNK
    eventually(lambda: plant.batch(compact).state is BatchState.ISSUED)  # needs no signature; the worker queues it
    assert plant.batch(number).state is BatchState.RESERVED
    with house.signer():
        eventually(lambda: plant.batch(number).state is BatchState.ISSUED, seconds=60)
        assert plant.batch(number).problem is None
        assert plant.same_as_in_one_go(number, tmp_path / "again")


def _written(plant: Plant, number: int) -> int:
    return code_file.progress(plant.folder, plant.batch(number))


def test_while_keys_are_rotated_and_revoked_no_valid_scan_fails(plant: Plant, house: KeyHouse, tmp_path: Path) -> None:
    """Codes of the old key are valid after the rotation and invalid after its revocation; other codes are always valid."""
    with ExitStack() as stack:
        signer = stack.enter_context(house.signer())
        queue = stack.enter_context(jobs.IssueQueue(plant.addresses.database))
        old, first = signer.active_key(), plant.codes(20)
        settings = environment(plant.addresses, house.room)
        services = [stack.enter_context(scan_process(settings, tmp_path / f"scan-{place}.log")) for place in range(2)]
        people = stack.enter_context(People(services, first))
        eventually(lambda: len(people.views()) == len(first))
        setting.rotate_key(house)
        eventually(lambda: all(signer.active_key() != old for _ in range(20)))  # each process reads the keyring itself
        number = plant.order(queue, Level.ITEM, 20)
        eventually(lambda: plant.batch(number).state is BatchState.ISSUED)
        assert plant.batch(number).key_id != old
        second = plant.paths(number)
        assert all(service.verdict(second[0]) == "verified" for service in services), "at once, by a key just made"
        others = stack.enter_context(People(services, second))
        eventually(lambda: len(others.views()) == len(second))
        setting.revoke_key(house, old)
        eventually(lambda: all(people.verdicts(path)[-1] == "key_revoked" for path in first))
        since = sum(others.views().values())
        eventually(lambda: sum(others.views().values()) > since + 50)
    assert house.keyring.verify(setting.last_code(plant.folder, plant.batch(number))) is SealVerdict.VALID
    for path in first:
        verdicts = people.verdicts(path)
        turned = verdicts.index("key_revoked")
        assert turned > 0
        assert set(verdicts[:turned]) == {"verified"}
        assert set(verdicts[turned:]) == {"key_revoked"}
    assert {verdict for path in second for verdict in others.verdicts(path)} == {"verified"}
