"""Restore a backup into a new home: the database up to a time, the keyring, the pictures. Nothing is overwritten or started.

A restored database is older than what was printed, decided and scanned since. So `zpcode recover` comes next.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keys.files import read_public
from keys.keyring import Keyring, fingerprint, read_root
from zpcode.embedded.servers import Servers
from zpcode.errors import Conflict, Findings, Refused, Text, Unavailable
from zpcode.rules import backups as rules
from zpcode.rules.continuity import BehindEvidence
from zpcode.services.backups.check import WalArchive, check, check_signatures, wal_of
from zpcode.services.backups.files import (
    newest_keyring,
    read_table,
    restore_pictures,
    restore_signatures,
    stored_pictures,
)
from zpcode.services.backups.folder import Backup, BackupFolder, write
from zpcode.services.backups.make import PICTURES, Announce
from zpcode.services.backups.programs import TO_RESTORE, PostgresPrograms, programs_for
from zpcode.services.backups.replay import Replay, ReplayedWal, stage
from zpcode.services.pictures.storage import PictureStorage
from zpcode.store.backups import mark_restored

SIGNATURES: Final = "signatures"
RESTORING: Final = ".restoring"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: from which backup, into which data directory, how far, with which keyring, and how many files."""

    backup: Backup
    data: Path
    wal: ReplayedWal
    keyring: Keyring
    pictures: int
    signatures: int


def restore(
    folder: BackupFolder, home: Path, until: datetime | None, announce: Announce, *, despite_gap: bool = False
) -> Restored:
    """Restore the newest backup that was complete at `until` (None: the newest), and its WAL up to that time (None: all).

    `despite_gap` accepts WAL that ends at a gap. Raises Refused if there is no such backup, if it is damaged or its WAL ends
    earlier, Conflict if something would be overwritten or old backups are being removed, Unavailable if a program or a disk fails.
    """
    home = home.absolute()
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o755)  # other processes read the keyring and the pictures; secret files have a stricter mode
    with folder.reading():
        return _restored(folder, home, until, announce, despite_gap=despite_gap)


def _restored(
    folder: BackupFolder, home: Path, until: datetime | None, announce: Announce, *, despite_gap: bool
) -> Restored:
    backup = _chosen(folder, until)
    servers = Servers(home)
    _refuse_existing(servers.data)
    programs = programs_for(backup.manifest.postgres.major, home, TO_RESTORE)
    announce(Text(f"核对备份 {backup.path.name}", f"verifying backup {backup.path.name}"))
    archive = _verified(folder, backup, programs, despite_gap=despite_gap or until is not None)
    keyring = _keyring(folder, backup, home)
    announce(Text("恢复数据库并重放 WAL", "restoring the database and replaying WAL"))
    wal = _restore_database(backup, servers, programs, archive, until)
    if until is None and not despite_gap:
        _refuse_early_end(backup, archive.segments, wal)
    _rename(servers.data)
    announce(Text("恢复公钥环与图片", "restoring the keyring and the pictures"))
    _write_keyring(home, keyring, backup)
    names = {*read_table(backup.path / PICTURES), *stored_pictures(folder)}
    pictures = restore_pictures(folder, names, PictureStorage((home / "pictures").as_uri()))
    signatures = restore_signatures(folder, home / SIGNATURES)
    _warn_of_signatures(folder, announce)
    return Restored(backup, servers.data, wal, keyring, pictures, signatures)


def _warn_of_signatures(folder: BackupFolder, announce: Announce) -> None:
    """Damaged signatures keep no database from being restored: the exports may still have them."""
    findings = Findings()
    check_signatures(folder, findings)
    for one in findings.items:
        announce(Text(f"警告：{one.where}：{one.text.zh}", f"warning: {one.where}: {one.text.en}"))


def _refuse_existing(data: Path) -> None:
    """Files that never change and a newer keyring may be there; a database may not."""
    if data.exists() and any(data.iterdir()):
        raise Conflict(
            Text(
                f"{data} 已存在，不会覆盖；请先停止服务并把它移走（不要删除，zpcode recover 可能需要）",
                f"{data} exists and is not overwritten; stop the services and move it away. Do not delete it: it may be "
                "needed to find out what was lost",
            )
        )


def _chosen(folder: BackupFolder, until: datetime | None) -> Backup:
    usable = [backup for backup in folder.backups() if until is None or backup.manifest.ended <= until]
    if not usable:
        when = f"（{until.isoformat()} 之前）" if until else ""
        raise Refused(
            Text(
                f"{folder.path} 中没有可用的完整备份{when}",
                f"{folder.path} has no complete backup" + (f" from before {until.isoformat()}" if until else ""),
            )
        )
    return usable[-1]


def _verified(folder: BackupFolder, backup: Backup, programs: PostgresPrograms, *, despite_gap: bool) -> WalArchive:
    findings = Findings()
    check(folder, backup, programs, findings)
    if despite_gap:  # with a time, PostgreSQL refuses if the WAL ends before it
        findings.items = [finding for finding in findings.items if not finding.reason.startswith("wal-")]
    findings.refuse(
        f"备份 {backup.path.name} 不完整或已损坏；--until 可选择更早的备份，--despite-gap 可接受 WAL 的缺口",
        f"backup {backup.path.name} is incomplete or damaged; --until chooses an earlier one, --despite-gap accepts a gap in "
        "its WAL",
    )
    return wal_of(folder, backup)


def _restore_database(
    backup: Backup, servers: Servers, programs: PostgresPrograms, archive: WalArchive, until: datetime | None
) -> ReplayedWal:
    """Beside its final place first: an interrupted restoration leaves nothing that could be started."""
    fresh = servers.data.with_name(servers.data.name + RESTORING)
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(backup.database, fresh, symlinks=True)
    fresh.chmod(0o700)
    stage(archive.segments, fresh)
    passwords = _passwords(servers) if backup.manifest.embedded else ()

    def statements(commit: datetime | None) -> tuple[str, ...]:
        moment = (commit or backup.manifest.ended).astimezone(UTC).isoformat(timespec="seconds")
        return (*passwords, mark_restored(BehindEvidence("restore", "restored", moment, "")))

    return Replay(programs, fresh, backup.manifest.postgres, servers.user, servers.processes).run(until, statements)


def _rename(data: Path) -> None:
    if data.exists():
        data.rmdir()  # it is empty
    data.with_name(data.name + RESTORING).rename(data)


def _passwords(servers: Servers) -> tuple[str, ...]:
    """The passwords of the old home are not in the backup: the new home has its own (letters, digits, `-` and `_`)."""
    return tuple(f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in servers.role_passwords().items())


def _refuse_early_end(backup: Backup, segments: Sequence[Path], wal: ReplayedWal) -> None:
    """PostgreSQL ends a recovery at a damaged record as it does at the end of the WAL."""
    base = backup.manifest.postgres
    last = max(rules.numbered((path.name for path in segments), base.timeline, base.segment_bytes), default=0)
    if rules.segment_at(wal.end, base.segment_bytes) < last:
        raise Unavailable(
            Text(
                f"WAL 在 {wal.end} 处损坏或不完整，此后的部分没有重放；可以接受的，请加 --despite-gap",
                f"the WAL is damaged or incomplete at {wal.end}, and what follows was not replayed; --despite-gap accepts this",
            )
        )


def _keyring(folder: BackupFolder, backup: Backup, home: Path) -> Keyring:
    """The newest keyring there is: that of the home if it is newer, for a revoked key stays revoked.

    Raises KeyringError, Conflict if the home has another root key pinned than the backup.
    """
    root, pinned = read_root(backup.path / "root.pub.pem"), home / "root.pub.pem"
    if pinned.exists() and fingerprint(read_root(pinned)) != fingerprint(root):
        raise Conflict(
            Text(
                f"{pinned} 是另一把根公钥，不会覆盖；请用密钥仪式记录的指纹核对，把不对的移走",
                f"{pinned} is another root key than the backup's and is not overwritten; compare both with the fingerprint that the "
                "key ceremony wrote down, and move the wrong one away",
            )
        )
    newest = newest_keyring(folder, root)
    if (home / "keyring.json").exists():
        existing = Keyring.load(read_public(home / "keyring.json"), root)
        return existing if existing.serial > newest.serial else existing.successor(newest.document, root)
    return newest


def _write_keyring(home: Path, keyring: Keyring, backup: Backup) -> None:
    for name, content in (
        ("root.pub.pem", read_root(backup.path / "root.pub.pem")),
        ("keyring.json", keyring.document),
    ):
        write(home / name, content)
        (home / name).chmod(0o644)  # every verifier reads it
