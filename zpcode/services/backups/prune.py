"""Remove old backups, the WAL that only they need, and the pictures that no backup lists any more."""

from __future__ import annotations

import shutil

from zpcode.rules import backups as rules
from zpcode.services.backups.files import read_table
from zpcode.services.backups.folder import UNFINISHED, Backup, BackupFolder
from zpcode.services.backups.make import PICTURES
from zpcode.services.backups.programs import PostgresPrograms


def prune(folder: BackupFolder, keep: int, programs: PostgresPrograms) -> list[Backup]:
    """Keep the newest `keep` (1 or more) backups and remove the others, which are returned. Raises Conflict, Unavailable.

    A backup is renamed before it is removed, so a half-removed one never looks complete.
    """
    with folder.removing():
        backups = folder.backups()
        outdated, kept = backups[:-keep], backups[-keep:]
        for backup in outdated:
            shutil.rmtree(backup.path.rename(backup.path.with_name(backup.path.name + UNFINISHED)))
        if outdated:
            _prune_wal(folder, kept, programs)
            _prune_pictures(folder, kept)
    return outdated


def _prune_wal(folder: BackupFolder, kept: list[Backup], programs: PostgresPrograms) -> None:
    """With PostgreSQL's own program in the folder of each timeline; a folder that no backup needs goes as a whole."""
    first: dict[int, int] = {}
    for backup in kept:
        base = backup.manifest.postgres
        segment = rules.segment_at(base.start, base.segment_bytes)
        first[base.timeline] = min(segment, first.get(base.timeline, segment))
    segment_bytes = kept[-1].manifest.postgres.segment_bytes
    for target in folder.wal.iterdir():
        timeline = int(target.name.partition(".")[0])
        if timeline in first:
            oldest = rules.segment_name(timeline, first[timeline], segment_bytes)
            programs.run("pg_archivecleanup", target, oldest)
            if "." in target.name and not any(target.iterdir()):
                target.rmdir()  # it was put aside at a gap (zpcode.services.backups.archive)
        elif timeline < min(first):
            shutil.rmtree(target)


def _prune_pictures(folder: BackupFolder, kept: list[Backup]) -> None:
    """A picture that was copied after the newest backup is in no list yet; it is younger than that backup."""
    listed = {name for backup in kept for name in read_table(backup.path / PICTURES)}
    newest = max(backup.manifest.ended for backup in kept).timestamp()
    for path in folder.pictures.iterdir():
        if path.name not in listed and path.stat().st_mtime < newest:
            path.unlink()
