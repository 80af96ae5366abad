"""The installation is lost under load and restored: no revoked code is good, no number is given twice, fsck is clean."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.e2e import standby, worker_process
from tests.e2e.lost_site import Promises, RunningSite, Work, site, survivors, with_valkey
from tests.e2e.plant import Plant
from tests.faults import replica
from tests.faults.scan_processes import environment, scan_process
from tests.support import issuing_setting
from tests.support.folders import in_memory
from tests.support.issuing_setting import KeyHouse
from tests.support.patience import eventually
from tests.support.recover_command import offered
from tests.support.registry_data import gtin
from zpcode.errors import NotFound
from zpcode.services.batches import file_keys
from zpcode.services.batches import queue as jobs
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.card import REVISION_FIELD
from zpcode.wire.payload import Level

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder for homes and backups that PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="zpcode-drill-", dir=in_memory(), ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def house(top: Path) -> Iterator[KeyHouse]:
    """A key room whose signer runs, and survives."""
    house = issuing_setting.key_house(top / "keys")
    with house.signer():
        yield house


def test_a_point_in_time_under_load(top: Path, house: KeyHouse) -> None:
    """Base backup while codes are issued and revoked, kill -9, restore up to a moment before the end."""
    with site(top / "first", house) as first, ExitStack() as stack:
        worker = first.plant.worker("worker")
        work = stack.enter_context(Work(first))
        stack.enter_context(first.archive(top / "backups"))
        work.until(3)
        first.zpcode("backup", top / "backups")
        work.until(6)
        until = first.clock()
        work.until(6)
        worker_process.ended(worker, signal.SIGKILL)
        first.lose_servers()
    second = top / "second"
    first.zpcode("restore-backup", top / "backups", "--to", second, "--until", until.isoformat())
    survivors(top / "first", second)
    with site(second, house, restored=True) as restored:
        judge(restored, work.promises)


def test_a_replica_that_lags_becomes_the_primary(top: Path, house: KeyHouse) -> None:
    """The replica receives nothing more, the primary goes on and is lost; the replica does not know what it lacks."""
    second = top / "second"
    with site(top / "first", house) as first, standby.following(first, second) as copy:
        worker = first.plant.worker("worker")
        with Work(first) as work:
            work.until(4)
            copy.lag()
            work.until(6)
            worker_process.ended(worker, signal.SIGKILL)
            first.lose_servers()
        copy.promote()
    survivors(top / "first", second)
    with site(second, house, restored=True) as promoted:
        judge(promoted, work.promises)


def test_a_valkey_replica_that_lags_becomes_the_primary(top: Path, house: KeyHouse) -> None:
    """The replica lacks the last batches and decisions; the database has them, and the worker brings them."""
    with site(top / "first", house) as first, replica.following(first) as second:
        worker = first.plant.worker("worker")
        with Work(first) as work:
            work.until(4)
            second.in_step()
            second.lag()
            work.until(6)
            worker_process.ended(worker, signal.SIGKILL)
            first.servers.processes.kill("valkey")
        assert head(second.redis) < revision(first.plant.engine)
        second.promote()
        keeps_promises(with_valkey(first, second.socket, second.redis), work.promises)


def test_everything_but_the_backup_and_the_keys_is_lost(top: Path, house: KeyHouse) -> None:
    """A fire: no Redis, no code file, no log of the signer. Only the restored database says that it is behind.

    Decisions made since are lost, and nobody can prove them. But no number is given again, and no code looks forged.
    """
    with site(top / "first", house) as first, first.archive(top / "backups"):
        worker = first.plant.worker("worker")
        with Work(first) as work:
            work.until(4)
            first.zpcode("backup", top / "backups")
            until = first.clock()
            work.until(4)
        assert worker_process.ended(worker, signal.SIGTERM) == 0
    home, keys = top / "new", KeyHouse(house.room, top / "signer")
    keys.home.mkdir()
    first.zpcode("restore-backup", top / "backups", "--to", home, "--until", until.isoformat())
    (home / "exports").mkdir()
    with keys.signer(), site(home, keys, restored=True) as new:
        file_keys.create(new.plant.settings.file_key)
        assert "zpcode recover" in refusal(new)
        shown = new.zpcode("recover", "--without", "redis", status=1)
        report = new.zpcode(*offered(shown, "--apply"), "--without", "redis")
        assert "recovered (number 1)" in report
        assert "may be missing and cannot be proven" in report
        starts_again(new, work.promises)


def judge(restored: RunningSite, promises: Promises) -> None:
    """The claims of the drill, on an installation whose database lost what came last: before, and after the recovery."""
    settings = environment(restored.servers.addresses, restored.plant.house.room)
    with scan_process(settings, restored.home / "scan.log") as scan:
        assert "zpcode recover" in refusal(restored)
        assert [path for path in promises.revoked if scan.verdict(path) == "verified"] == []
        shown = restored.zpcode("recover", status=1)
        report = restored.zpcode(*offered(shown, "--apply"), status=1)
        assert "recovered (number 1)" in report, report
        assert [path for path in promises.revoked if scan.verdict(path) == "verified"] == []
        restored.zpcode(*offered(report, "--confirm-all"))
        assert [path for path in promises.revoked if scan.verdict(path) == "verified"] == []
    keeps_promises(restored, promises)


def refusal(restored: RunningSite) -> str:
    """What a command that issues says before the recovery."""
    command = [sys.executable, "-m", "zpcode", "issue", "--level", "item", "--gtin", gtin(1), "--quantity", "1"]
    done = subprocess.run(command, env=restored.environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr


def keeps_promises(at: RunningSite, promises: Promises) -> None:
    """After a recovery: fsck is clean, no revoked code is good, no number is given again, no file has changed."""
    plant = at.plant
    settings = environment(plant.addresses, plant.house.room)
    worker = plant.worker("worker-after")
    eventually(lambda: head(at.redis) == revision(plant.engine))
    with scan_process(settings, at.home / "scan-after.log") as scan, jobs.IssueQueue(plant.addresses.database) as queue:
        assert [path for path in promises.revoked if scan.verdict(path) == "verified"] == []
        good = [paths[5] for number, paths in promises.codes.items() if paths[5] not in promises.revoked]
        assert {scan.verdict(path) for path in good} == {"verified"}
        numbers = [plant.order(queue, Level.COMPACT, 5) for _ in range(3)]
        assert min(numbers) > max(promises.codes)
        eventually(plant.at_rest)
        assert not {path for number in numbers for path in plant.paths(number)} & set().union(*promises.codes.values())
    assert {number: sha256 for number, sha256 in promises.files.items() if plant.batch(number).sha256 != sha256} == {}
    assert plant.fsck() == []
    assert worker_process.ended(worker, signal.SIGTERM) == 0


def revision(engine: Engine) -> int:
    """The newest revision in the database."""
    with transaction(engine) as connection:
        return cards.head(connection)


def head(redis: Redis) -> int:
    """The revision in a Redis."""
    return int(redis.hget(redis_keys.HEAD, REVISION_FIELD) or 0)


def starts_again(new: RunningSite, promises: Promises) -> None:
    """Files are written again with the same codes; codes of lost batches cannot be confirmed; new numbers are new.

    A batch that was reserved at the time of the restoration is issued with the codes that it had then.
    """
    plant = new.plant
    kept = {number for number in promises.codes if exists(plant, number)}
    lost = set(promises.codes) - kept
    assert kept
    assert lost
    worker = plant.worker("worker-after")
    eventually(plant.at_rest)
    for number in kept:
        new.zpcode("batches", "export", str(number))
        assert plant.paths(number) == promises.codes[number]
    with scan_process(environment(plant.addresses, plant.house.room), new.home / "scan.log") as scan:
        assert {scan.verdict(promises.codes[number][0]) for number in lost} == {"unconfirmed"}
        assert {scan.verdict(promises.codes[number][5]) for number in kept} <= {"verified", "revoked"}
    with jobs.IssueQueue(plant.addresses.database) as queue:
        assert plant.order(queue, Level.COMPACT, 5) > max(promises.codes)
        eventually(plant.at_rest)
    assert plant.fsck() == []
    assert worker_process.ended(worker, signal.SIGTERM) == 0


def exists(plant: Plant, number: int) -> bool:
    """Whether the database has this batch."""
    try:
        plant.batch(number)
    except NotFound:
        return False
    return True
