"""Make one backup: a base backup of PostgreSQL, verified, and with it everything that is not in the database.

The order matters. The last audit entry is noted before the base backup begins, so every restoration of it contains the
entry. The files are copied after it has ended: a file is stored before the row that names it is committed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from keys.keyring import fingerprint
from zpcode.errors import Refused, Text, Unavailable
from zpcode.rules.backups import VERSION, BackupManifest, BaseBackup, offset
from zpcode.services.backups.files import (
    CopiedFiles,
    Originals,
    copy_files,
    index_pictures,
    lacks_signatures,
    read_table,
    table,
)
from zpcode.services.backups.folder import DATABASE, Backup, BackupFolder, digest, write
from zpcode.services.backups.programs import TO_BACK_UP, PostgresPrograms, programs_for
from zpcode.store import backups as store
from zpcode.store.backups import DatabaseServer, RecordedState
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring import integrity

PICTURES: Final = "pictures.tsv"
CODE_FILES: Final = "code-files.tsv"
_SPARE_BYTES: Final = 1 << 30
_SHOWN: Final = 20
Announce = Callable[[Text], None]


@dataclass(frozen=True, slots=True)
class BackupSource:
    """What is backed up: the server's URL for the backup role, the files, and the settings without their passwords."""

    url: str
    home: Path
    embedded: bool
    originals: Originals
    settings: Mapping[str, str]
    release: str


def back_up(engine: Engine, source: BackupSource, folder: BackupFolder, announce: Announce, now: datetime) -> Backup:
    """Make a backup. It is complete when this returns, and does not exist if an error is raised.

    Raises Refused if the server cannot be backed up, Unavailable if a program is missing or fails, Conflict if another backup
    is being made, and KeyringError.
    """
    folder.prepare()
    with folder.locked():
        with transaction(engine) as connection:
            server, recorded = store.server(connection), store.recorded(connection)
        _check(server, folder)
        programs = programs_for(server.major, source.home, TO_BACK_UP)
        path = folder.begin(now)
        announce(Text(f"复制数据库到 {path}", f"copying the database to {path}"))
        _copy_database(programs, source.url, path / DATABASE)
        with transaction(engine) as connection:
            ended = store.now(connection)
        announce(Text("复制公钥环与图片", "copying the keyring and the pictures"))
        copied = copy_files(source.originals, folder)
        if lacking := _write_lists(engine, folder, path, copied):
            numbers = ", ".join(map(str, lacking[:_SHOWN]))
            announce(
                Text(
                    f"警告：{len(lacking)} 个批次所保存的签名没有备份（请检查 ZPCODE_EXPORT_DIR 能否读取）：{numbers}",
                    f"warning: the kept signatures of {len(lacking)} batches are not in the backup (is ZPCODE_EXPORT_DIR readable?): "
                    f"{numbers}",
                )
            )
        return folder.finish(path, _manifest(source, server, recorded, copied, path, ended))


def _check(server: DatabaseServer, folder: BackupFolder) -> None:
    if server.replica:
        raise Refused(Text("这是只读副本；请备份主库", "this server is a replica; back up the primary"))
    if server.tablespaces:
        raise Refused(
            Text(
                "数据库使用了自建表空间，本命令不支持；请使用 pgBackRest 或 Barman",
                "the server has tablespaces, which this command does not support; use pgBackRest or Barman",
            )
        )
    _refuse_other_history(server, folder)
    free = shutil.disk_usage(folder.path).free
    if free < server.database_bytes + _SPARE_BYTES:
        needed, free_gb = (server.database_bytes + _SPARE_BYTES) / 1e9, free / 1e9
        raise Unavailable(
            Text(
                f"{folder.path} 所在磁盘空间不足：需要 {needed:.1f} GB，剩余 {free_gb:.1f} GB；请删去旧备份（--keep）或换磁盘",
                f"the disk of {folder.path} is too small: {needed:.1f} GB are needed, {free_gb:.1f} GB are free; remove old "
                "backups (--keep) or use another disk",
            )
        )


def _refuse_other_history(server: DatabaseServer, folder: BackupFolder) -> None:
    """A folder has the backups of one history: a server that was restored from one of them begins another."""
    for backup in folder.backups():
        base = backup.manifest.postgres
        behind = (server.timeline, offset(server.written)) < (base.timeline, offset(base.end))
        if base.system != server.system or behind:
            raise Refused(
                Text(
                    f"{folder.path} 中有另一个数据库（或此库恢复之前）的备份；请换一个新目录",
                    f"{folder.path} has backups of another database, or of this one before it was restored; use a new folder",
                )
            )


def _copy_database(programs: PostgresPrograms, url: str, target: Path) -> None:
    """With the WAL of the copy itself (`-X stream`): so it can be restored where the WAL archive is lost."""
    options = ("-D", target, "-c", "fast", "-X", "stream", "--manifest-checksums=SHA256", "-l", "zpcode backup")
    programs.run("pg_basebackup", *options, url=url)
    programs.run("pg_verifybackup", "-q", target)


def _write_lists(engine: Engine, folder: BackupFolder, path: Path, copied: CopiedFiles) -> list[int]:
    """The keyring, the digests of the pictures, and the digests of the code files, which the keys can make again.

    Returns the batches whose kept signatures were not copied.
    """
    write(path / "keyring.json", copied.keyring.document)
    write(path / "root.pub.pem", copied.root)
    earlier = folder.backups()
    previous = read_table(earlier[-1].path / PICTURES) if earlier else {}
    write(path / PICTURES, table(index_pictures(folder, copied.pictures, previous)))
    with integrity.snapshot(engine) as connection:
        issued = [one for many in integrity.every_batch(connection) for one in many if one.sha256]
    lines = [f"{one.number}\t{one.format}\t{one.bytes}\t{one.sha256}\n" for one in issued]
    write(path / CODE_FILES, "".join(lines).encode("utf-8"))
    return [one.number for one in issued if one.signatures_sha256 and lacks_signatures(folder, one.number)]


def _manifest(
    source: BackupSource,
    server: DatabaseServer,
    recorded: RecordedState,
    copied: CopiedFiles,
    path: Path,
    ended: datetime,
) -> BackupManifest:
    # pg_verifybackup does not compare postgresql.auto.conf, which may name programs that PostgreSQL starts.
    of_database = [f"{DATABASE}/{name}" for name in ("backup_manifest", "postgresql.auto.conf")]
    names = ["keyring.json", "root.pub.pem", PICTURES, CODE_FILES, *of_database]
    start, end = _wal_range(path / DATABASE)
    return BackupManifest(
        version=VERSION,
        started=server.now,
        ended=ended,
        embedded=source.embedded,
        postgres=BaseBackup(
            server.major,
            server.database,
            server.superuser,
            server.system,
            server.timeline,
            server.segment_bytes,
            start,
            end,
        ),
        release=source.release,
        schema=recorded.schema,
        audit_count=recorded.audit_count,
        audit_head=recorded.audit_head.hex(),
        last_batch=recorded.last_batch,
        keyring_serial=copied.keyring.serial,
        root_fingerprint=fingerprint(copied.root),
        settings=dict(source.settings),
        files={name: digest(path / name) for name in names},
    )


def _wal_range(database: Path) -> tuple[str, str]:
    """From which LSN to which the copy needs WAL, from PostgreSQL's own manifest. It has one timeline, that of a primary."""
    document: Any = json.loads((database / "backup_manifest").read_bytes())
    (wal,) = document["WAL-Ranges"]
    return wal["Start-LSN"], wal["End-LSN"]
