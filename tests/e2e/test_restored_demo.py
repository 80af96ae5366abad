"""A demo whose database was restored from a backup starts all the same, so that the operator can bring it forward."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.demo_running import Demo, demo
from tests.support.patience import eventually
from tests.support.recover_command import offered
from zpcode.wire.link import path_of

pytestmark = pytest.mark.proof


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter."""
    with tempfile.TemporaryDirectory(prefix="zpcode-restored-demo-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _zpcode(home: Path, *arguments: str | Path, fails: bool = False) -> str:
    command = [sys.executable, "-m", "zpcode", *map(str, arguments)]
    environment = os.environ | {"ZPCODE_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def _verdict(running: Demo, link: str) -> str:
    answer = httpx.get(running.scan + path_of(link), headers={"Accept": "application/json"})
    return str(answer.json()["verdict"])


def test_an_older_backup_is_restored_over_the_demo(top: Path) -> None:
    """The steps of docs/recovery.md: the code that was revoked after the backup is never shown as good again."""
    home, backups = top / "home", top / "backups"
    home.mkdir(mode=0o711)
    with demo(home, 20501) as first:
        link = first.links[-2]
        _zpcode(home, "backup", backups)
        _zpcode(home, "revoke", "code", link, "--reason", "labels-stolen")
        assert eventually(lambda: _verdict(first, link) == "revoked")
        first.process.send_signal(signal.SIGINT)
        first.process.wait(timeout=60)
    assert "is not overwritten" in _zpcode(home, "restore-backup", backups, "--to", home, fails=True)
    (home / "postgres").rename(home / "postgres.lost")
    _zpcode(home, "restore-backup", backups, "--to", home)
    with demo(home, 20501) as restored:
        assert "the database is older than Redis" in restored.printed
        assert f"export ZPCODE_HOME={home}" in restored.printed
        assert _verdict(restored, link) == "revoked"
        shown = _zpcode(home, "recover", fails=True)
        applied = _zpcode(home, *offered(shown, "--apply"), fails=True)
        assert "held until confirmed" in applied
        assert _verdict(restored, link) == "revoked"
        _zpcode(home, *offered(applied, "--confirm-all"))
        _zpcode(home, "fsck")
        assert _verdict(restored, link) == "revoked"
    with demo(home, 20501) as again:
        assert [path_of(one) for one in again.links[-4:]] == [path_of(one) for one in first.links[-4:]]
        assert _verdict(again, link) == "revoked"
