"""An unfinished file of codes or signatures: begun, continued after a crash, and finished.

Its header, which says whose it is, is on disk before its first part. What a crash leaves is read part by part; from the
first part that is short or wrong on, the file is written again.

A damaged file is kept under another name until what replaces it is written and verified (`replacing`). A crash may leave it there:
`zpcode fsck` names it, and the next replacement that is verified deletes it.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from zpcode.errors import Text, Unavailable
from zpcode.exports.base import Slots
from zpcode.services.batches import ownership
from zpcode.services.batches.encrypted_file import CHUNK_BYTES, DecryptedFile, EncryptedAppender, disk_bytes
from zpcode.services.batches.file_cipher import DamagedFile, FileCipher, FileLabel
from zpcode.services.batches.file_keys import EncryptionKeys

ASIDE: Final = ".damaged-"
"""What follows the name of the file; digits follow it."""
_SPARE_BYTES = 64 << 20  # left free on the disk for other programs
_WRITE_BACK_BYTES = 32 << 20

Parts = Generator[tuple[Slots, bytes]]
"""Slots and signatures of the codes of each part, in order (`zpcode.exports.base.FileLayout.part`)."""


class PartLayout(Protocol):
    """The part of `zpcode.exports.base.FileLayout` that writing needs."""

    @property
    def header(self) -> bytes: ...  # noqa: D102 - described in FileLayout

    @property
    def size(self) -> int: ...  # noqa: D102

    def part(self, slots: Slots, signatures: bytes) -> bytes | memoryview: ...  # noqa: D102

    def part_at(self, file: BinaryIO, first: int, count: int) -> bytes | None: ...  # noqa: D102

    def footer(self) -> bytes: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A finished file: its SHA-256 in hex, its size in bytes."""

    sha256: str
    bytes: int


class UnfinishedFile:
    """An unfinished file: how many codes (`done`) and bytes (`size`) are complete, and the SHA-256 so far.

    `file` is open and locked (`ownership.locked`). The file has `codes` codes, `chunk` in a part.
    """

    def __init__(self, file: BinaryIO, layout: PartLayout, codes: int, chunk: int) -> None:
        self._file, self.layout, self.codes, self.chunk = file, layout, codes, chunk
        self.done, self.size = 0, 0
        self._digest = hashlib.sha256()
        self._sent_to_disk = 0

    def resume(self, path: Path, label: FileLabel, keys: EncryptionKeys) -> None:
        """Compare the parts on disk with the parts that belong there, and cut the file off before the first wrong one.

        A file that cannot be continued is begun (`ownership.continued`, which may raise ForeignFile). Raises OSError.
        """
        cipher = ownership.continued(self._file, path, label, keys)
        if cipher is None:
            self._begin(FileCipher.fresh(keys.current, label), path.parent)
            return
        self._appender = EncryptedAppender(self._file, cipher)
        content = DecryptedFile(self._file, cipher, complete=False)
        self._read(io.BufferedReader(content, CHUNK_BYTES))
        if self.done:
            self._appender.truncate(self.size, content)
        else:
            self.restart()

    def restart(self) -> None:
        """Drop all parts."""
        self.done, self.size, self._digest = 0, 0, hashlib.sha256()
        self._appender.truncate(0)
        self._append(self.layout.header, 0)

    def complete(
        self, parts: Parts, report: Callable[[int], None] | None = None, stop: threading.Event | None = None
    ) -> bool:
        """Append these parts, which begin after the last one here; False when asked to stop before the last."""
        with closing(parts):
            for slots, signatures in parts:
                # `part` keeps the last part until the next one is made: to free its memory first costs a sixth of the
                # speed.
                part = self.layout.part(slots, signatures)
                self._append(part, self._next())
                self._write_back()
                if report is not None:
                    report(self.done)
                if stop is not None and stop.is_set() and self.done < self.codes:
                    return False
        return True

    def finish(self, unfinished: Path, finished: Path) -> CodeFile:
        """Write the footer, wait until all bytes are on disk, and give the file its finished name."""
        self._append(self.layout.footer(), 0)
        self._appender.finish()
        unfinished.rename(finished)
        ownership.sync_directory(finished.parent)
        return CodeFile(self._digest.hexdigest(), self.size)

    def check_space(self, directory: Path) -> None:
        """Raise Unavailable if the disk is too small for the rest of the file."""
        needed = disk_bytes(self.layout.size) - disk_bytes(self.size) + _SPARE_BYTES
        free = shutil.disk_usage(directory).free
        if free < needed:
            raise Unavailable(
                Text(
                    f"{directory} 所在磁盘空间不足：还需 {_size(needed)}，剩余 {_size(free)}；腾出空间后会从断点续写",
                    f"the disk of {directory} is too full: {_size(needed)} needed, {_size(free)} free; "
                    "free some space, and writing continues where it stopped",
                )
            )

    def _begin(self, cipher: FileCipher, directory: Path) -> None:
        self._file.seek(0)
        self._file.truncate(0)
        self._file.write(cipher.header)
        self._file.flush()
        os.fsync(self._file.fileno())
        ownership.sync_directory(directory)
        self._appender = EncryptedAppender(self._file, cipher)
        self.restart()

    def _read(self, file: BinaryIO) -> None:
        layout = self.layout
        try:
            if (header := file.read(len(layout.header))) != layout.header:
                return
            self._add(header, 0)
            while (count := self._next()) and (part := layout.part_at(file, self.done, count)) is not None:
                self._add(part, count)
        except DamagedFile:
            return

    def _next(self) -> int:
        """How many codes the next part has; 0 after the last."""
        return min(self.chunk, self.codes - self.done)

    def _append(self, data: bytes | memoryview, codes: int) -> None:
        self._appender.append(data)
        self._add(data, codes)

    def _add(self, data: bytes | memoryview, codes: int) -> None:
        self._digest.update(data)
        self.size += len(data)
        self.done += codes

    def _write_back(self) -> None:
        if self.size - self._sent_to_disk >= _WRITE_BACK_BYTES:
            # Linux starts to write these pages to disk in the background, so the last fsync has little left to do.
            os.posix_fadvise(self._file.fileno(), self._sent_to_disk, self.size, os.POSIX_FADV_DONTNEED)
            self._sent_to_disk = self.size


@contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Within the block, a file is written in the place of `path` and verified; the caller has the batch's lock.

    A file that is there is renamed before. If the block ends with a file at `path`, all that was renamed is deleted; if it
    raises, or ends without one, the file gets its name again. Raises OSError.
    """
    aside = _moved(path)
    try:
        yield
    except BaseException:
        _put_back(aside, path)
        raise
    if path.exists():
        for former in set_aside(path):
            former.unlink()
    else:
        _put_back(aside, path)


def set_aside(path: Path) -> list[Path]:
    """The damaged files that were renamed for a replacement of `path`."""
    return sorted(one for one in path.parent.iterdir() if one.name.startswith(path.name + ASIDE))


def _moved(path: Path) -> Path | None:
    """The new path of a file that was renamed; None if there is none. No other file has this name."""
    try:
        number = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    while (aside := path.with_name(f"{path.name}{ASIDE}{number}")).exists():
        number += 1
    path.rename(aside)
    ownership.sync_directory(path.parent)
    return aside


def _put_back(aside: Path | None, path: Path) -> None:
    """Give a file its name again, unless a file has it."""
    if aside is not None and not path.exists():
        aside.rename(path)


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Raise Unavailable for an OSError inside."""
    try:
        yield
    except OSError as error:
        raise _disk(directory, error) from error


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def _disk(directory: Path, error: OSError) -> Unavailable:
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    zh = "磁盘已满" if full else f"无法读写（{error.strerror}）"
    en = "the disk is full" if full else f"cannot be read or written ({error.strerror})"
    return Unavailable(
        Text(
            f"{directory}：{zh}；已写部分保留，排除故障后会从断点续写",
            f"{directory}: {en}; what is written stays, and writing continues from there once this is fixed",
        )
    )
