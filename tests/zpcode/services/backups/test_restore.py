"""A backup and its WAL bring back every commit, or those up to a time; what is damaged is not restored."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keys.ceremony import KeyRoom
from keys.keyring import Key, Keyring, KeyState
from tests.support import issuing_setting as setting
from tests.support.backup_setting import installation, notes, quiet, restored_evidence
from tests.support.issuing_setting import KeyHouse
from zpcode.errors import Conflict, Refused, Text, Unavailable
from zpcode.rules.backups import offset, segment_name
from zpcode.services.backups import check
from zpcode.services.backups.files import copy_files
from zpcode.services.backups.folder import MANIFEST, Backup, BackupFolder
from zpcode.services.backups.restore import Restored, restore

SETTINGS = ("recovery_target_name = 'elsewhere'", "recovery_end_command = 'exit 1'")
"""What another program's restoration has left in the server's `postgresql.auto.conf`."""


@dataclass
class Crashed:
    """A server that was killed after a backup and some commits, of which `between` parts the second from the third."""

    folder: BackupFolder
    backup: Backup
    room: KeyRoom
    between: datetime
    homes: Path


@pytest.fixture(scope="module")
def crashed() -> Iterator[Crashed]:
    """The commits: one before the backup, one after it, and one after `between`. A key was revoked at the end."""
    with installation() as running:
        for setting_ in SETTINGS:
            running.administer(f"ALTER SYSTEM SET {setting_}")
        running.note("before")
        (running.home / "exports").mkdir()
        (running.home / "exports" / "batch-7.signatures").write_bytes(b"encrypted")
        (running.home / "exports" / "batch-7.csv").write_bytes(b"encrypted too")
        with running.archive():
            backup = running.back_up()
            running.note("after")
            between = running.clock()
            running.administer("SELECT pg_switch_wal()")
            running.note("last")
        running.servers.processes.kill("postgres")
        setting.revoke_key(KeyHouse(running.room, running.home), active_key(running.room).id)
        copy_files(running.originals, running.folder)
        yield Crashed(running.folder, backup, running.room, between, running.home.parent)


@pytest.fixture
def home(crashed: Crashed, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A home that does not exist yet."""
    path = crashed.homes / str(abs(hash(request.node.name)))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def _restore(crashed: Crashed, home: Path, until: datetime | None = None, *, despite_gap: bool = False) -> Restored:
    return restore(crashed.folder, home, until, quiet, despite_gap=despite_gap)


def active_key(room: KeyRoom) -> Key:
    """The key that signs codes."""
    keyring = Keyring.load(room.keyring.read_bytes(), room.root_public.read_bytes())
    return next(key for key in keyring if key.state is KeyState.ACTIVE and key.record.purpose == "codes")


@contextmanager
def moved(path: Path) -> Iterator[None]:
    """As if this file were not there."""
    aside = path.rename(path.with_name("aside"))
    yield
    aside.rename(path)


def test_everything_that_was_committed_is_there_again(crashed: Crashed, home: Path) -> None:
    """Without the old home: its passwords and its WAL are gone."""
    restored = _restore(crashed, home)
    assert notes(home) == ["before", "after", "last"]
    assert restored.wal.last_commit is not None
    assert restored.wal.last_commit > crashed.between
    assert (restored.pictures, restored.signatures) == (3, 1)
    assert [path.read_bytes() for path in (home / "signatures").iterdir()] == [b"encrypted"]
    assert not (home / "exports").exists(), "an empty folder would be a witness"
    assert sorted(path.stat().st_mode & 0o777 for path in (home / "pictures").iterdir()) == [0o644] * 3


def test_the_settings_of_the_old_server_do_not_apply_to_the_replay_and_are_kept(crashed: Crashed, home: Path) -> None:
    _restore(crashed, home)
    assert notes(home) == ["before", "after", "last"]
    kept = (home / "postgres" / "postgresql.auto.conf").read_text("utf-8")
    assert [setting_ for setting_ in SETTINGS if setting_ in kept] == list(SETTINGS)


def test_a_time_parts_the_commits_before_it_from_those_after(crashed: Crashed, home: Path) -> None:
    restored = _restore(crashed, home, crashed.between)
    assert notes(home) == ["before", "after"]
    assert restored.wal.last_commit is not None
    assert restored.wal.last_commit < crashed.between


def test_a_restored_database_is_behind_even_if_nobody_knows_more(crashed: Crashed, home: Path) -> None:
    """Redis, code files and signer may be lost with the server. Then only the database can say it."""
    restored = _restore(crashed, home)
    assert restored.wal.last_commit is not None
    (proof,) = restored_evidence(home)
    assert proof.text.en.startswith("zpcode restore-backup: this database was restored up to 20")
    assert datetime.fromisoformat(proof.value) == restored.wal.last_commit.replace(microsecond=0)


def test_the_newest_keyring_is_restored_whichever_backup_is(crashed: Crashed, home: Path) -> None:
    """The key was revoked after the backup: codes under it stay untrusted."""
    restored = _restore(crashed, home, crashed.between)
    keyring = Keyring.load((home / "keyring.json").read_bytes(), (home / "root.pub.pem").read_bytes())
    assert KeyState.REVOKED in {key.state for key in keyring}
    assert keyring.serial == restored.keyring.serial == crashed.backup.manifest.keyring_serial + 1


def test_a_newer_keyring_of_the_home_stays(crashed: Crashed, home: Path) -> None:
    home.mkdir(mode=0o755)
    room = replace(crashed.room, keyring=home / "keyring.json")
    room.keyring.write_bytes(crashed.room.keyring.read_bytes())
    setting.rotate_key(KeyHouse(room, home))
    newer = room.keyring.read_bytes()
    assert _restore(crashed, home).keyring.document == newer
    assert room.keyring.read_bytes() == newer


def test_a_pinned_root_key_of_the_home_is_not_replaced(crashed: Crashed, home: Path, tmp_path: Path) -> None:
    """Who can write the backups could otherwise make every verifier of the new home trust his keys."""
    home.mkdir(mode=0o755)
    pinned = setting.key_house(tmp_path / "own").room.root_public.read_bytes()
    (home / "root.pub.pem").write_bytes(pinned)
    with pytest.raises(Conflict, match="another root key"):
        _restore(crashed, home)
    assert (home / "root.pub.pem").read_bytes() == pinned
    assert not (home / "postgres").exists()


def test_a_database_is_not_overwritten(crashed: Crashed, home: Path) -> None:
    _restore(crashed, home)
    with pytest.raises(Conflict, match="is not overwritten"):
        _restore(crashed, home)
    assert notes(home) == ["before", "after", "last"]


def test_a_time_after_the_end_of_the_wal_is_refused_with_the_last_commit(crashed: Crashed, home: Path) -> None:
    """PostgreSQL cannot know whether something was committed between the end and that time."""
    with pytest.raises(Refused, match=r"the WAL ends before --until \(last commit: 20"):
        _restore(crashed, home, crashed.between + timedelta(hours=1))
    assert not (home / "postgres").exists()


def test_a_time_before_every_backup_is_refused(crashed: Crashed, home: Path) -> None:
    with pytest.raises(Refused, match="no complete backup from before"):
        _restore(crashed, home, crashed.backup.manifest.ended - timedelta(microseconds=1))


def test_a_backup_without_a_manifest_is_none(crashed: Crashed, home: Path) -> None:
    """As an interrupted copy of the folder leaves it."""
    manifest = crashed.backup.path / MANIFEST
    with moved(manifest), pytest.raises(Refused, match="no complete backup"):
        _restore(crashed, home)


@pytest.mark.parametrize(
    "name",
    [
        "database/PG_VERSION",
        "database/backup_manifest",
        "database/postgresql.auto.conf",
        "keyring.json",
        "pictures.tsv",
        "../pictures/{}",
    ],
)
def test_a_damaged_file_is_noticed_before_anything_is_restored(crashed: Crashed, home: Path, name: str) -> None:
    path = crashed.backup.path / name.format(f"{'a' * 32}-160.webp")
    whole = path.read_bytes()
    path.write_bytes(whole[:-2] + b"??")
    try:
        with pytest.raises(Refused, match="incomplete or damaged"):
            _restore(crashed, home)
    finally:
        path.write_bytes(whole)
    assert not (home / "keyring.json").exists()


def test_files_that_nobody_backed_up_are_not_restored(crashed: Crashed, home: Path) -> None:
    """Names that no picture, no signatures and no keyring can have."""
    strange = [crashed.folder.pictures / "x.html", crashed.folder.signatures / "x", crashed.folder.keyrings / "x.json"]
    for path in strange:
        path.write_bytes(b"x")
    try:
        _restore(crashed, home)
    finally:
        for path in strange:
            path.unlink()
    assert not [path for path in home.rglob("x*") if path.name in {"x", "x.html", "x.json"}]


def test_a_gap_in_the_wal_is_refused_unless_it_is_accepted(crashed: Crashed, home: Path) -> None:
    """Without the segment that follows the base backup, the commits after it are lost."""
    wal = check.wal_of(crashed.folder, crashed.backup).segments
    later = wal[-1].with_name(segment_name(1, 99, crashed.backup.manifest.postgres.segment_bytes))
    shutil.copy(wal[-1], later)
    try:
        with pytest.raises(Refused) as refused:
            _restore(crashed, home)
        assert [finding.reason for finding in refused.value.findings] == ["wal-gap"]
        _restore(crashed, home, despite_gap=True)
    finally:
        later.unlink()
    assert notes(home) == ["before", "after", "last"]


@pytest.mark.parametrize(("segment", "refusal"), [(0, "incomplete or damaged"), (-2, "damaged or incomplete at 0/")])
def test_damaged_wal_is_not_taken_for_its_end(crashed: Crashed, home: Path, segment: int, refusal: str) -> None:
    """PostgreSQL ends a recovery at a record whose CRC is wrong as it does at the end of the WAL.

    The last complete segment is not read before: its last record may go on in the next one.
    """
    path = check.wal_of(crashed.folder, crashed.backup).segments[segment]
    whole = path.read_bytes()
    begin = offset(crashed.backup.manifest.postgres.end) % len(whole)
    path.write_bytes(whole[:begin] + bytes(8192) + whole[begin + 8192 :])
    try:
        with pytest.raises((Refused, Unavailable), match=refusal):
            _restore(crashed, home)
        assert not (home / "postgres").exists()
        _restore(crashed, home, despite_gap=True)
    finally:
        path.write_bytes(whole)
    assert notes(home) == ["before"]


def test_the_archive_may_go_on_while_a_backup_is_restored(crashed: Crashed, home: Path) -> None:
    """As in a drill beside the running service: a segment is complete, and gets its name, after it was listed."""
    partial = check.wal_of(crashed.folder, crashed.backup).segments[-1]
    assert partial.suffix == ".partial"
    complete = partial.with_suffix("")

    def completed(text: Text) -> None:
        if text.en.startswith("restoring the database"):
            partial.rename(complete)

    try:
        restore(crashed.folder, home, None, completed)
    finally:
        complete.rename(partial)
    assert notes(home) == ["before", "after", "last"]


def test_a_segment_that_the_archive_has_in_part_does_not_replace_that_of_the_base_backup(
    crashed: Crashed, home: Path
) -> None:
    """The archive stopped while the base backup was made: the base backup has all the WAL that it needs."""
    first = check.wal_of(crashed.folder, crashed.backup).segments[0]
    wal = first.parent
    aside = wal.rename(wal.with_name("aside"))
    wal.mkdir()
    whole = (aside / first.name).read_bytes()
    begin = offset(crashed.backup.manifest.postgres.start) % len(whole)
    (wal / f"{first.name}.partial").write_bytes(whole[:begin] + bytes(len(whole) - begin))
    try:
        _restore(crashed, home)
    finally:
        shutil.rmtree(wal)
        aside.rename(wal)
    assert notes(home) == ["before"]
