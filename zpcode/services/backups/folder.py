"""The folder of an installation's backups: which files it has, and who may use it.

    20261129T150000Z/          one backup, named by the time at which it began
      manifest.json              written last: a backup without it is incomplete
      database/                  the base backup, as PostgreSQL wrote it
      keyring.json root.pub.pem code-files.tsv pictures.tsv
    wal/TIMELINE/              the WAL that the archive has received
    pictures/ keyrings/ signatures/    files shared by all backups; only new ones are copied
    signatures.tsv             the digests of the files in signatures/

Nothing in it is for other users: it contains everything but the private keys.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import msgspec

from zpcode.errors import Conflict, Refused, Text
from zpcode.regular_files import new_file, open_own, own_file, read_own
from zpcode.rules.backups import BackupManifest, FileDigest

MANIFEST: Final = "manifest.json"
DATABASE: Final = "database"
UNFINISHED: Final = ".unfinished"
_READERS: Final = "readers.lock"
_STAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True, slots=True)
class Backup:
    """A complete backup."""

    path: Path
    manifest: BackupManifest

    @property
    def database(self) -> Path:
        """The base backup."""
        return self.path / DATABASE


class BackupFolder:
    """The folder at a path; nothing is created before `prepare`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.pictures = self.path / "pictures"
        self.keyrings = self.path / "keyrings"
        self.signatures = self.path / "signatures"
        self.signature_digests = self.path / "signatures.tsv"
        self.wal = self.path / "wal"

    def prepare(self) -> None:
        """Create the folder. Raises Refused if other users may enter it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.stat().st_mode & 0o077:
            raise Refused(
                Text(
                    f"其他用户可以进入 {self.path}；请执行 chmod 700 {self.path}",
                    f"other users may enter {self.path}: chmod 700 {self.path}",
                )
            )
        for folder in (self.pictures, self.keyrings, self.signatures, self.wal):
            folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Write alone. Raises Conflict if another process writes. The WAL archive has its own writer. Reading goes on."""
        busy = Text(f"另一个备份正在写入 {self.path}", f"another backup is writing to {self.path}")
        with os.fdopen(open_own(self.path / "lock", os.O_RDWR | os.O_CREAT)) as file:
            _lock(file, fcntl.LOCK_EX, busy)
            yield

    @contextmanager
    def removing(self) -> Iterator[None]:
        """Remove while nobody reads or writes. Raises Conflict if another process does."""
        busy = Text(
            f"正在核对或恢复 {self.path} 中的备份，旧备份留待下次删除",
            f"a backup in {self.path} is being checked or restored; old ones are removed next time",
        )
        with self.locked(), os.fdopen(open_own(self.path / _READERS, os.O_RDWR | os.O_CREAT)) as file:
            _lock(file, fcntl.LOCK_EX, busy)
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read while nothing is removed. Raises Conflict if a process removes old backups.

        A folder that cannot be written, such as a medium that is mounted to be read, is read without a lock.
        """
        try:
            descriptor = open_own(self.path / _READERS, os.O_RDWR | os.O_CREAT)
        except OSError:
            yield
            return
        busy = Text(
            f"正在删除 {self.path} 中的旧备份，请稍后再试", f"old backups in {self.path} are being removed; try again"
        )
        with os.fdopen(descriptor) as file:
            _lock(file, fcntl.LOCK_SH, busy)
            yield

    def begin(self, now: datetime) -> Path:
        """The folder of a new backup, without what an interrupted one has left. `finish` gives it its name."""
        for leftover in self.path.glob(f"*{UNFINISHED}"):
            shutil.rmtree(leftover)
        path = self.path / f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{UNFINISHED}"
        path.mkdir(mode=0o700)
        return path

    def finish(self, path: Path, manifest: BackupManifest) -> Backup:
        """Write the manifest and give the backup its name, after everything is on disk."""
        os.sync()
        write(path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        final = path.with_name(path.name.removesuffix(UNFINISHED))
        path.rename(final)
        sync(self.path)
        return Backup(final, manifest)

    def backups(self) -> list[Backup]:
        """All complete backups, oldest first. Raises Refused if this is no folder of backups, or a manifest is damaged."""
        if not self.path.is_dir():
            raise Refused(Text(f"没有备份目录 {self.path}", f"there is no folder of backups {self.path}"))
        paths = (path for path in sorted(self.path.iterdir()) if _STAMP.fullmatch(path.name))
        return [Backup(path, read_manifest(path)) for path in paths if (path / MANIFEST).exists()]


def _lock(file: IO[str], kind: int, busy: Text) -> None:
    """Lock an open file until it is closed. Raises Conflict with this text if another process has it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(busy) from None


def read_manifest(path: Path) -> BackupManifest:
    """The manifest of a backup. Raises Refused if it is damaged."""
    try:
        return msgspec.json.decode(read_own(path / MANIFEST), type=BackupManifest)
    except msgspec.MsgspecError as error:
        raise Refused(
            Text(f"备份清单 {path / MANIFEST} 已损坏：{error}", f"the manifest {path / MANIFEST} is damaged: {error}")
        ) from error


def digest(path: Path) -> FileDigest:
    """The size and the SHA-256 of a file."""
    with own_file(path) as file:
        return FileDigest(os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def write(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 so that it is there with this content, or not at all, whatever happens."""
    fresh = path.with_name(f".{path.name}.new")
    with new_file(fresh) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Bring the entries of a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
