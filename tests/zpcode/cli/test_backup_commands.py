"""`zpcode backup` and `zpcode restore-backup` on a command line: what they print, and their exit status."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.support.backup_setting import BackedUp, installation, notes
from zpcode.cli import backup
from zpcode.errors import Refused


@pytest.fixture(scope="module")
def running() -> Iterator[BackedUp]:
    """The installation, without a backup."""
    with installation() as running:
        running.note("before")
        yield running


@pytest.fixture(autouse=True)
def _settings(running: BackedUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPCODE_HOME", str(running.home))
    monkeypatch.setenv("ZPCODE_KEYRING", str(running.room.keyring))
    monkeypatch.setenv("ZPCODE_ROOT_PUBLIC", str(running.room.root_public))
    monkeypatch.setenv("ZPCODE_REDIS_URL", "rediss://authority:top-secret@cache.example:6380")
    monkeypatch.setenv("ZPCODE_DATABASE_URL", "postgresql://zpcode:a/top-secret@db.example/zpcode")
    monkeypatch.setenv("ZPCODE_MIGRATION_URL", "postgresql://owner@/zpcode?password=top-secret&host=%2Frun%2Fdb")


def _run(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(backup.app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_a_backup_is_made_checked_and_restored(running: BackedUp) -> None:
    """Without an archive of WAL the command says so; nothing that it prints or writes has a password."""
    umask = os.umask(0o022)
    os.umask(umask)
    folder = running.folder.path
    made = _run("backup", folder)
    assert "no WAL is received: run zpcode backup --wal" in made.output.replace("\n", " ")
    manifest = next(folder.glob("*/manifest.json")).read_text("utf-8")
    for shown in (
        "rediss://authority:***@cache.example:6380",
        "postgresql://zpcode:***@db.example/zpcode",
        "postgresql://owner@/zpcode?password=***&host=%2Frun%2Fdb",
    ):
        assert shown in manifest
    assert "top-secret" not in manifest + made.output
    assert _run("backup", folder, "--check").exit_code == 0
    home = running.home.parent / "restored"
    restored = _run("restore-backup", folder, "--to", home)
    assert re.search(r"zpcode audit verify --expect-head [0-9a-f]{64} --expect-count 1\n", restored.output)
    assert f"ZPCODE_HOME={home} zpcode recover" in restored.output
    assert not (home / "log" / "postgres.log").exists(), "a server was started"
    assert notes(home) == ["before"]
    assert os.umask(umask) == umask


def test_a_check_that_fails_says_so(running: BackedUp) -> None:
    folder = running.home.parent / "damaged"
    shutil.copytree(running.folder.path, folder)
    next(folder.glob("*/keyring.json")).unlink()
    checked = _run("backup", folder, "--check")
    assert checked.exit_code == 1
    assert "this file is missing" in checked.output
    assert "not whole" in checked.output


def test_a_folder_without_a_backup_fails_the_check(tmp_path: Path) -> None:
    assert _run("backup", tmp_path, "--check").exit_code == 1
    with pytest.raises(Refused, match="there is no folder of backups"):
        _run("backup", tmp_path / "nowhere", "--check")


def test_old_backups_are_removed_on_request(running: BackedUp) -> None:
    (old,) = running.folder.backups()
    assert f"removed: {old.path.name}" in _run("backup", running.folder.path, "--keep", "1").output
    assert len(running.folder.backups()) == 1


def test_the_files_alone_are_copied_in_between(running: BackedUp) -> None:
    running.originals.pictures.put({f"{'e' * 32}-160.webp": b"new"})
    assert "new pictures: 1" in _run("backup", running.folder.path, "--files").output


@pytest.mark.parametrize("options", [("--wal", "--check"), ("--files", "--wal"), ("--files", "--check", "--wal")])
def test_one_thing_at_a_time(running: BackedUp, options: tuple[str, ...]) -> None:
    assert _run("backup", running.folder.path, *options).exit_code == 2


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("", None),
        ("2026-11-29T15:04:05+08:00", "2026-11-29T15:04:05+08:00"),
        ("2026-11-29T15:04:05", "2026-11-29T15:04:05+08:00"),
        ("2026-11-29T07:04:05Z", "2026-11-29T07:04:05+00:00"),
    ],
)
def test_a_time_without_an_offset_is_in_shanghai(value: str, moment: str | None) -> None:
    parsed = backup._moment(value)
    assert (None if parsed is None else parsed.isoformat()) == moment


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(typer.BadParameter):
        backup._moment("yesterday")
