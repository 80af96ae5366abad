"""A backup is complete or is none, old ones are removed with what only they need, and a stopped archive is noticed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import issuing_setting as setting
from tests.support.backup_setting import BackedUp, installation
from tests.support.clock import NOW
from tests.support.patience import eventually
from tests.support.strange_files import LINK, STRANGE, put
from zpcode.errors import Conflict, Findings, Refused, Text, Unavailable
from zpcode.rules.backups import segment_at, segment_name
from zpcode.services.backups import archive, check, files, make
from zpcode.services.backups.files import copy_files, read_table
from zpcode.services.backups.folder import UNFINISHED, BackupFolder
from zpcode.services.backups.make import CODE_FILES, PICTURES
from zpcode.services.backups.programs import TO_BACK_UP, connection, programs_for
from zpcode.services.backups.prune import prune
from zpcode.store import backups as store
from zpcode.store import batches
from zpcode.store.backups import SLOT
from zpcode.store.database.session import connect, transaction
from zpcode.store.monitoring.statistics import Counts, counts
from zpcode.wire.payload import Level


@pytest.fixture(scope="module")
def running() -> Iterator[BackedUp]:
    """The installation with one backup and one commit after it."""
    with installation() as running:
        running.note("before")
        running.back_up()
        yield running


@pytest.fixture
def copied(running: BackedUp) -> Iterator[BackupFolder]:
    """A copy of the folder of backups, to change."""
    copy = running.folder.path.with_name("copy")
    shutil.copytree(running.folder.path, copy)
    yield BackupFolder(copy)
    shutil.rmtree(copy)


def test_a_backup_says_what_it_contains(running: BackedUp) -> None:
    (backup,) = running.folder.backups()
    manifest = backup.manifest
    assert (manifest.audit_count, manifest.last_batch, manifest.keyring_serial) == (1, 0, 2)
    assert manifest.started <= manifest.ended <= running.clock()
    assert set(read_table(backup.path / PICTURES)) == {f"{digit * 32}-160.webp" for digit in "abc"}
    assert set(manifest.files) >= {CODE_FILES, PICTURES, "keyring.json", "root.pub.pem", "database/backup_manifest"}


def test_no_other_user_can_read_a_backup(running: BackedUp) -> None:
    others = [path for path in running.folder.path.rglob("*") if path.stat().st_mode & 0o077]
    assert [path for path in others if path.parent == running.folder.path and path.name != "lock"] == []
    assert running.folder.path.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_may_enter_is_refused(copied: BackupFolder) -> None:
    copied.path.chmod(0o750)
    with pytest.raises(Refused, match="chmod 700"):
        copied.prepare()


def test_an_interrupted_backup_is_none_and_the_next_one_removes_it(copied: BackupFolder) -> None:
    (complete,) = copied.backups()
    left = copied.begin(NOW)
    (left / "database").mkdir()
    assert [backup.path for backup in copied.backups()] == [complete.path]
    assert copied.begin(NOW + timedelta(hours=1)) != left
    assert not left.exists()


@pytest.mark.parametrize(
    ("differs", "refusal"),
    [
        ({"replica": True}, "back up the primary"),
        ({"tablespaces": 1}, "has tablespaces"),
        ({"database_bytes": 1 << 60}, "is too small"),
        ({"timeline": 0}, "use a new folder"),
        ({"written": "0/0"}, "use a new folder"),
    ],
)
def test_a_server_that_cannot_be_backed_up_is_refused_before_anything_is_copied(
    running: BackedUp, differs: dict[str, Any], refusal: str
) -> None:
    role = connect(running.url, pool_size=1)
    try:
        with transaction(role) as connection:
            server = store.server(connection)
    finally:
        role.dispose()
    make._check(server, running.folder)
    with pytest.raises((Refused, Unavailable), match=refusal):
        make._check(server._replace(**differs), running.folder)


def test_kept_signatures_that_were_not_copied_are_named(running: BackedUp) -> None:
    """Without them, files under a retired key cannot be written again."""
    setting.register(running.engine, setting.product_card())
    number = setting.reserved(running.engine, level=Level.COMPACT)
    with transaction(running.engine) as connection:
        batches.change(connection, number, state="issued", sha256="0" * 64, bytes=1, signatures_sha256="0" * 64)
    other = replace(running, folder=BackupFolder(running.folder.path.with_name("other")))
    said: list[Text] = []
    other.back_up(announce=said.append)
    assert [text.en for text in said if "warning" in text.en] == [
        "warning: the kept signatures of 1 batches are not in the backup (is ZPCODE_EXPORT_DIR readable?): 1"
    ]
    (other.folder.signatures / "batch-1.signatures").touch()
    said.clear()
    other.back_up(NOW + timedelta(days=1), announce=said.append)
    assert not any("warning" in text.en for text in said)


def test_two_backups_do_not_run_at_once(running: BackedUp) -> None:
    with running.folder.locked(), pytest.raises(Conflict, match="another backup"):
        running.back_up()


def test_a_failed_base_backup_leaves_no_backup(running: BackedUp) -> None:
    """The server refuses the role, and the program's own words are in the message."""
    before = running.folder.backups()
    with pytest.raises(Unavailable, match=r"pg_basebackup failed: .*permission denied"):
        running.back_up(NOW + timedelta(hours=2), url=running.servers.addresses.scan_database)
    assert running.folder.backups() == before


def test_what_is_no_file_among_the_originals_is_left_out_and_among_the_copies_is_named(
    copied: BackupFolder, tmp_path: Path
) -> None:
    """A device has no end, and a FIFO keeps its reader waiting for ever."""
    (backup,) = copied.backups()
    for number, kind in enumerate(STRANGE | LINK):
        put(kind, tmp_path / "exports" / f"batch-{number}.signatures")
    (tmp_path / "exports" / "batch-99.signatures").write_bytes(b"kept")
    files._copy_signatures(tmp_path / "exports", copied.signatures)
    assert [path.name for path in copied.signatures.iterdir()] == ["batch-99.signatures"]
    for kind in STRANGE | LINK:
        put(kind, backup.path / "root.pub.pem")
        assert [path for path, _ in check._damaged(copied, backup)] == [backup.path / "root.pub.pem"], kind


def test_a_damaged_manifest_is_named(copied: BackupFolder) -> None:
    (backup,) = copied.backups()
    (backup.path / "manifest.json").write_bytes(b"{}")
    with pytest.raises(Refused, match="is damaged"):
        copied.backups()


def test_a_backup_of_another_database_needs_a_folder_of_its_own(copied: BackupFolder, running: BackedUp) -> None:
    (backup,) = copied.backups()
    manifest = backup.path / "manifest.json"
    manifest.write_text(manifest.read_text("utf-8").replace(backup.manifest.postgres.system, "1"), "utf-8")
    other = BackedUp(running.home, running.servers, running.engine, running.room, copied)
    with pytest.raises(Refused, match="use a new folder"):
        other.back_up()


def test_what_is_wrong_with_a_backup_is_named(copied: BackupFolder, running: BackedUp) -> None:
    (backup,) = copied.backups()
    (copied.pictures / f"{'a' * 32}-160.webp").unlink()
    (backup.database / "PG_VERSION").write_text("99")
    findings = Findings()
    check.check(copied, backup, programs_for(18, running.home, TO_BACK_UP), findings)
    assert {Path(finding.where).name for finding in findings.items} == {"database", f"{'a' * 32}-160.webp"}


def test_old_backups_go_with_the_pictures_that_only_they_list(running: BackedUp) -> None:
    (first,) = running.folder.backups()
    running.originals.pictures.remove([f"{'a' * 32}-160.webp"])
    second = running.back_up(NOW + timedelta(days=1))
    programs = programs_for(18, running.home, TO_BACK_UP)
    assert prune(running.folder, 2, programs) == []
    assert len(list(running.folder.pictures.iterdir())) == 3
    assert prune(running.folder, 1, programs) == [first]
    assert {path.name[0] for path in running.folder.pictures.iterdir()} == set("bc")
    assert running.folder.backups() == [second]
    assert not list(running.folder.path.glob(f"*{UNFINISHED}"))


def test_only_new_pictures_are_copied(running: BackedUp) -> None:
    copy_files(running.originals, running.folder)
    assert copy_files(running.originals, running.folder).new_pictures == 0
    running.originals.pictures.put({f"{'d' * 32}-160.webp": b"new"})
    assert copy_files(running.originals, running.folder).new_pictures == 1


def test_a_picture_that_a_power_failure_cut_off_is_copied_again(running: BackedUp, copied: BackupFolder) -> None:
    """A file may have its name before its content is on disk."""
    copy_files(running.originals, copied)
    copy = copied.pictures / f"{'b' * 32}-160.webp"
    copy.write_bytes(b"")
    assert copy_files(running.originals, copied).new_pictures == 1
    assert copy.read_bytes() == b"b" * 1000


def test_signatures_that_vanish_keep_no_others_out_of_the_backup(running: BackedUp, copied: BackupFolder) -> None:
    """As when the archive of a key finds that a file does not give the codes, and removes it."""
    running.originals.exports.mkdir()
    for number in range(0, 20, 2):
        (running.originals.exports / f"batch-{number}.signatures").symlink_to("gone")
        (running.originals.exports / f"batch-{number + 1}.signatures").write_bytes(b"encrypted")
    try:
        copy_files(running.originals, copied)
    finally:
        shutil.rmtree(running.originals.exports)
    assert {path.name for path in copied.signatures.iterdir()} == {f"batch-{odd}.signatures" for odd in range(1, 20, 2)}


def test_kept_signatures_that_are_damaged_or_missing_are_named(running: BackedUp, copied: BackupFolder) -> None:
    """Those that were encrypted anew are noted anew, and those of a folder from before the list as they are found."""
    (copied.signatures / "batch-1.signatures").write_bytes(b"of before")
    running.originals.exports.mkdir()
    try:
        for number in (2, 3, 4):
            (running.originals.exports / f"batch-{number}.signatures").write_bytes(b"encrypted")
        copy_files(running.originals, copied)
        (running.originals.exports / "batch-4.signatures").write_bytes(b"encrypted with a new key")
        copy_files(running.originals, copied)
    finally:
        shutil.rmtree(running.originals.exports)
    assert damaged_signatures(copied) == {}
    (copied.signatures / "batch-1.signatures").write_bytes(b"Of before")
    (copied.signatures / "batch-2.signatures").unlink()
    (copied.signatures / "batch-3.signatures").write_bytes(b"encryptee")
    assert damaged_signatures(copied) == {
        "batch-1.signatures": "this file differs from the one that was backed up",
        "batch-2.signatures": "this file is missing",
        "batch-3.signatures": "this file differs from the one that was backed up",
    }


def damaged_signatures(folder: BackupFolder) -> dict[str, str]:
    """What is wrong with which file of kept signatures."""
    findings = Findings()
    check.check_signatures(folder, findings)
    return {Path(one.where).name: one.text.en for one in findings.items}


def test_nothing_is_removed_while_a_backup_is_read_and_a_new_one_may_be_made(running: BackedUp) -> None:
    folder, programs = running.folder, programs_for(18, running.home, TO_BACK_UP)
    before = folder.backups()
    with folder.reading(), folder.reading(), folder.locked():
        pass
    with folder.reading(), pytest.raises(Conflict, match="is being checked or restored"):
        prune(folder, 1, programs)
    with folder.removing(), pytest.raises(Conflict, match="are being removed; try again"), folder.reading():
        pass
    assert folder.backups() == before
    with BackupFolder(folder.path / "none").reading():
        pass


# The archive ----------------------------------------------------------------------------------------


def _counts(running: BackedUp) -> Counts:
    with transaction(running.engine) as connection:
        return counts(connection, [])


def _prepared(running: BackedUp, said: list[Text]) -> Path:
    role = connect(running.url, pool_size=1)
    try:
        return archive._prepare(role, running.url, running.home, running.folder, said.append)[1]
    finally:
        role.dispose()


def test_an_archive_that_began_after_a_backup_has_a_gap_before_it(running: BackedUp) -> None:
    """Nobody received what was written between them."""
    running.administer("SELECT pg_switch_wal()")
    running.administer("CHECKPOINT")
    (backup,) = running.folder.backups()
    with running.archive():
        running.note("archived")
        assert not _counts(running).archive_stopped
    running.note("not archived")
    eventually(lambda: _counts(running).archive_stopped and _counts(running).archive_bytes > 0)
    assert check.wal_of(running.folder, backup).segments == ()
    base = backup.manifest.postgres
    assert check.wal_of(running.folder, backup).gap == segment_name(
        1, segment_at(base.end, base.segment_bytes), 16 << 20
    )


def test_an_archive_whose_slot_is_gone_is_put_aside(running: BackedUp) -> None:
    """What the server wrote meanwhile is not there: the segments must not look contiguous."""
    said: list[Text] = []
    target = _prepared(running, said)
    assert (said, [path.suffix for path in target.iterdir()]) == ([], [".partial"])
    programs_for(18, running.home, TO_BACK_UP).run("pg_receivewal", "--drop-slot", "-S", SLOT, url=running.url)
    target = _prepared(running, said)
    assert ([text.en.partition(":")[0] for text in said], list(target.iterdir())) == (["the WAL archive has a gap"], [])
    assert [path.name for path in sorted(running.folder.wal.iterdir())] == ["1", "1.1"]


def test_segments_that_are_missing_before_the_slot_are_a_gap(running: BackedUp) -> None:
    """As when the archive was copied back from an old disk."""
    said: list[Text] = []
    target = _prepared(running, said)
    (target / segment_name(1, 1, 16 << 20)).touch()
    running.administer("SELECT pg_switch_wal()")
    assert _prepared(running, said).is_dir()
    assert [text.en.partition(":")[0] for text in said] == ["the WAL archive has a gap"]


def test_a_new_timeline_asks_for_a_backup(running: BackedUp) -> None:
    """After a failover: no earlier backup can be restored across it."""
    said: list[Text] = []
    target = _prepared(running, said)
    shutil.rmtree(target)
    other = target.with_name("9")
    other.mkdir()
    _prepared(running, said)
    other.rmdir()
    assert [text.en.partition(",")[0] for text in said] == ["the database has begun a new timeline"]


# Programs -------------------------------------------------------------------------------------------


def test_programs_of_another_version_are_not_used(running: BackedUp) -> None:
    with pytest.raises(Unavailable, match=r"of PostgreSQL 97 are missing\. Debian: install postgresql-97"):
        programs_for(97, running.home, TO_BACK_UP)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        (
            "postgresql://me:s%40me@db:5432/zpcode?sslmode=verify-full",
            "postgresql://me@db:5432/zpcode?sslmode=verify-full",
        ),
        ("postgresql://me@/zpcode?host=%2Ftmp&password=s%40me", "postgresql://me@/zpcode?host=%2Ftmp"),
    ],
)
def test_no_password_is_on_a_command_line(url: str, plain: str) -> None:
    """Every user of a machine can read the command lines of all processes."""
    options, environment = connection(url)
    assert (options, environment["PGPASSWORD"]) == (["-w", "-d", plain], "s@me")
