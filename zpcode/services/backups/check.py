"""Whether backups are complete and undamaged: PostgreSQL's own check, every digest, and the WAL without a gap."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from zpcode.errors import Findings, Text, Unavailable
from zpcode.regular_files import NotRegular
from zpcode.rules import backups as rules
from zpcode.services.backups.files import read_table
from zpcode.services.backups.folder import Backup, BackupFolder, digest
from zpcode.services.backups.make import PICTURES
from zpcode.services.backups.programs import PostgresPrograms

_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class WalArchive:
    """The WAL that follows a backup: its folder, the complete segments in order, and the first that is missing.

    `segments` are the files up to that one. `newest` is when the last of them was written (UTC); None without any.
    """

    segments: tuple[Path, ...]
    gap: str
    newest: datetime | None


def wal_of(folder: BackupFolder, backup: Backup) -> WalArchive:
    """The WAL of the archive that follows a backup: the folder with the segment in which the base backup ended."""
    base = backup.manifest.postgres
    first = rules.segment_at(base.end, base.segment_bytes)
    late = False
    for target in sorted(folder.wal.glob(f"{base.timeline}*")):
        if target.name.partition(".")[0] != str(base.timeline):
            continue
        names = rules.numbered((path.name for path in target.iterdir()), base.timeline, base.segment_bytes)
        if first in names:
            return _archive(target, names, first, base)
        late = late or max(names, default=0) > first
    return WalArchive((), rules.segment_name(base.timeline, first, base.segment_bytes) if late else "", None)


def _archive(target: Path, names: dict[int, str], first: int, base: rules.BaseBackup) -> WalArchive:
    absent = rules.missing(names, first)
    last = absent[0] - 1 if absent else max(names)
    paths = tuple(target / names[number] for number in range(first, last + 1))
    gap = rules.segment_name(base.timeline, absent[0], base.segment_bytes) if absent else ""
    newest = datetime.fromtimestamp(max(_status(path).st_mtime for path in paths), UTC)
    return WalArchive(paths, gap, newest)


def check(folder: BackupFolder, backup: Backup, programs: PostgresPrograms, findings: Findings) -> None:
    """Add a finding for each thing that is wrong with a backup. Everything is read, so it takes as long as copying it."""
    for path, wrong in _damaged(folder, backup):
        findings.add("backup-damaged", wrong.zh, wrong.en, where=str(path))
    try:
        programs.run("pg_verifybackup", "-q", backup.database)
    except Unavailable as failure:
        findings.add("backup-damaged", failure.text.zh, failure.text.en, where=str(backup.database))
    archive = wal_of(folder, backup)
    if archive.gap:
        findings.add(
            "wal-gap",
            f"WAL 归档缺少 {archive.gap}，无法恢复到其后的时间",
            f"the WAL archive lacks {archive.gap}; no time after it can be restored",
            where=str(backup.path),
        )
    _check_wal(backup, archive, programs, findings)


def check_signatures(folder: BackupFolder, findings: Findings) -> None:
    """Add a finding for each file of kept signatures that is missing or damaged. All backups share them; all are read."""
    noted = read_table(folder.signature_digests)
    for path, wrong in _differing({folder.signatures / name: one for name, one in noted.items()}):
        findings.add("signatures-damaged", wrong.zh, wrong.en, where=str(path))


def _check_wal(backup: Backup, archive: WalArchive, programs: PostgresPrograms, findings: Findings) -> None:
    """The sizes, and the CRC of every record up to the last complete segment: the last record may go on in the next one."""
    for path in archive.segments:
        if _status(path).st_size != backup.manifest.postgres.segment_bytes:
            findings.add("wal-damaged", "WAL 段大小不正确", "this WAL segment has a wrong size", where=str(path))
    complete = [path for path in archive.segments if path.suffix != rules.PARTIAL]
    if len(complete) < 2:
        return
    base = backup.manifest.postgres
    last = max(rules.numbered((path.name for path in complete), base.timeline, base.segment_bytes))
    end = rules.lsn(last * base.segment_bytes)
    try:
        programs.run("pg_waldump", "-q", "-p", complete[0].parent, "-t", str(base.timeline), "-s", base.end, "-e", end)
    except Unavailable as failure:
        findings.add("wal-damaged", failure.text.zh, failure.text.en, where=str(complete[0].parent))


def _status(path: Path) -> os.stat_result:
    """The status of a segment. The archive may have completed it since it was listed: then it has the name without suffix."""
    try:
        return path.stat()
    except FileNotFoundError:
        return path.with_suffix("").stat()


def _damaged(folder: BackupFolder, backup: Backup) -> Iterator[tuple[Path, Text]]:
    listed = {backup.path / name: one for name, one in backup.manifest.files.items()}
    pictures = {folder.pictures / name: one for name, one in read_table(backup.path / PICTURES).items()}
    yield from _differing(listed | pictures)


def _differing(files: Mapping[Path, rules.FileDigest]) -> Iterator[tuple[Path, Text]]:
    for path, expected in files.items():
        if not path.is_file():
            yield path, Text("文件缺失", "this file is missing")
        elif not _is_as_it_was(path, expected):
            yield path, Text("文件内容与备份时不同", "this file differs from the one that was backed up")


def _is_as_it_was(path: Path, expected: rules.FileDigest) -> bool:
    try:
        return digest(path) == expected
    except NotRegular:
        return False
