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

from tests.e2e import standby, worker_process
from tests.e2e.lost_site import Promises, RunningSite, Work, site, survivors
from tests.faults.scan_processes import environment, scan_process
from tests.support import issuing_setting
from tests.support.folders import in_memory
from tests.support.issuing_setting import KeyHouse
from tests.support.registry_data import gtin

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
    with site(top / "first", house) as first, standby.following(first, second) as replica:
        worker = first.plant.worker("worker")
        with Work(first) as work:
            work.until(4)
            replica.lag()
            work.until(6)
            worker_process.ended(worker, signal.SIGKILL)
            first.lose_servers()
        replica.promote()
    survivors(top / "first", second)
    with site(second, house, restored=True) as promoted:
        judge(promoted, work.promises)


def judge(restored: RunningSite, promises: Promises) -> None:
    """The claims of the drill, on an installation whose database lost what came last."""
    settings = environment(restored.servers.addresses, restored.plant.house.room)
    with scan_process(settings, restored.home / "scan.log") as scan:
        assert "zpcode recover" in refusal(restored)
        assert [path for path in promises.revoked if scan.verdict(path) == "verified"] == []


def refusal(restored: RunningSite) -> str:
    """What a command that issues says before the recovery."""
    command = [sys.executable, "-m", "zpcode", "issue", "--level", "item", "--gtin", gtin(1), "--quantity", "1"]
    done = subprocess.run(command, env=restored.environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr
