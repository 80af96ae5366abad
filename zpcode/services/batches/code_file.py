"""The file of a batch: written, resumed after a crash, and finished. Interruptions do not change its bytes.

Rows are appended to `batch-NUMBER.SUFFIX.part`, in whole chunks of 8192 rows. The file is renamed once it is complete
and on disk. To resume, every row on disk is compared with the row that belongs there; from the first chunk that is short
or wrong on, the file is written again. Signatures are deterministic (RFC 6979), so a row is the same each time.

Memory does not grow with the batch: only a few chunks are in work at a time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from keys.client import SigningService
from zpcode.errors import Conflict, Text, Unavailable
from zpcode.exports.formats import file_name, table_of
from zpcode.exports.table import CodeTable, Rows
from zpcode.rules.batches.batch import Batch
from zpcode.wire.payload import Level

CHUNK: Final = 8192
IN_FLIGHT: Final = 2 * len(os.sched_getaffinity(0)) + 1
_SPARE_BYTES = 64 << 20  # left free on the disk for other programs
_WRITE_BACK_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A finished file: its SHA-256 in hex, its size in bytes."""

    sha256: str
    bytes: int


def part_path(directory: Path, batch: Batch) -> Path:
    """The path of a batch's unfinished file."""
    return directory / f"{file_name(batch)}.part"


def progress(directory: Path, batch: Batch) -> int:
    """How many of a reserved batch's codes have been written so far."""
    try:
        size, table = part_path(directory, batch).stat().st_size, table_of(batch)
    except (OSError, Unavailable):
        return 0
    return max(0, min(batch.codes, (size - table.at(0)) // table.width))


def produce(
    batch: Batch,
    signer: SigningService,
    directory: Path,
    *,
    report: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> CodeFile | None:
    """Write a batch's file, or continue an unfinished one; None when `stop` was set before the end.

    `report` is called with the number of codes in the file. Raises SignerError, SignerUnavailable, Conflict if
    another process of this machine is writing the file, Unavailable if the disk is full or broken or the format is
    unknown. What was written stays; the next call continues from it.
    """
    table = table_of(batch)
    part, finished = part_path(directory, batch), directory / file_name(batch)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if finished.exists() and not part.exists():
            finished.rename(part)  # complete, but the batch is not issued: the file is checked like an unfinished one
        with _opened(part) as file:
            unfinished = _UnfinishedFile(file, table)
            unfinished.resume()
            _check_space(directory, table.size - table.at(unfinished.done))
            if not _complete(unfinished, table, signer, report, stop):
                return None
            sha256 = unfinished.finish()
            part.rename(finished)
            _sync_directory(directory)
    except OSError as error:
        raise _disk(directory, error) from error
    return CodeFile(sha256, table.size)


def verify(batch: Batch, directory: Path) -> bool:
    """Whether the finished file exists and has the SHA-256 that was recorded when the batch was issued."""
    try:
        with (directory / file_name(batch)).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == batch.sha256
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _disk(directory, error) from error


def first_urls(batch: Batch, directory: Path, count: int) -> list[str]:
    """The first `count` printed URLs in a batch's finished file; fewer where it has fewer. Only these rows are read."""
    table = table_of(batch)
    with (directory / file_name(batch)).open("rb") as file:
        file.seek(table.at(0))
        block = file.read(min(count, table.codes) * table.width)
    return table.urls(block)


def discard(batch: Batch, directory: Path) -> None:
    """Delete an unfinished file."""
    part_path(directory, batch).unlink(missing_ok=True)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The unfinished file, open to one process at a time; only its owner may read it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(Text(f"另一个进程正在写入 {path.name}", f"another process is writing {path.name}")) from None
        yield file


class _UnfinishedFile:
    """An unfinished file: how many rows are complete (`done`), and the SHA-256 so far."""

    def __init__(self, file: BinaryIO, table: CodeTable) -> None:
        self._file, self._table = file, table
        self.done = 0
        self._digest = hashlib.sha256(table.header)
        self._sent_to_disk = 0

    def resume(self) -> None:
        """Compare the rows on disk with the rows that belong there, and cut the file off before the first wrong chunk."""
        table, file = self._table, self._file
        if file.read(len(table.header)) == table.header:
            while self.done < table.codes:
                count = min(CHUNK, table.codes - self.done)
                block = file.read(count * table.width)
                if len(block) < count * table.width or not table.matches(block, self.done).all():
                    break
                self._digest.update(block)
                self.done += count
        if self.done == 0:
            file.seek(0)
            file.write(table.header)
            file.flush()
        file.truncate(table.at(self.done))
        file.seek(table.at(self.done))

    def append(self, rows: Rows) -> None:
        """Add a chunk of rows."""
        self._digest.update(rows.data)
        self._file.write(rows.data)
        self.done += len(rows)
        if (end := self._table.at(self.done)) - self._sent_to_disk >= _WRITE_BACK_BYTES:
            self._file.flush()
            # Linux starts to write these pages to disk in the background, so the last fsync has little left to do.
            os.posix_fadvise(self._file.fileno(), self._sent_to_disk, end, os.POSIX_FADV_DONTNEED)
            self._sent_to_disk = end

    def finish(self) -> str:
        """Wait until all bytes are on disk, and return the SHA-256 in hex."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()


def _complete(
    unfinished: _UnfinishedFile,
    table: CodeTable,
    signer: SigningService,
    report: Callable[[int], None] | None,
    stop: threading.Event | None,
) -> bool:
    """Append the missing rows; False when asked to stop before the last."""
    with closing(_rows(table, signer, unfinished.done)) as chunks:
        for rows in chunks:
            unfinished.append(rows)
            if report is not None:
                report(unfinished.done)
            if stop is not None and stop.is_set() and unfinished.done < table.codes:
                return False
    return True


def _rows(table: CodeTable, signer: SigningService, first: int) -> Generator[Rows]:
    """The rows from index `first` on, a chunk at a time."""
    batch = table.batch
    if not batch.level.is_item:
        if first == 0:
            yield table.only_row(_single(batch, signer))
    elif batch.sealed:
        yield from _signed(table, signer, first)
    else:
        for start in range(first, table.codes, CHUNK):
            yield table.rows(table.slots(start, min(CHUNK, table.codes - start)), b"")


def _single(batch: Batch, signer: SigningService) -> bytes:
    if batch.level is Level.LOT:
        return signer.sign_lot(batch.key_id, batch.gtin, batch.lot)
    return signer.sign_product(batch.key_id, batch.gtin)


def _signed(table: CodeTable, signer: SigningService, first: int) -> Generator[Rows]:
    """Sealed rows in order. More requests wait at the signer than it has processes, so that none of them is idle."""
    batch = table.batch
    starts = iter(range(first, table.codes, CHUNK))
    pending: deque[tuple[npt.NDArray[np.uint64], Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="sign")
    try:
        while True:
            for start in itertools.islice(starts, IN_FLIGHT - len(pending)):
                slots = table.slots(start, min(CHUNK, table.codes - start))
                pending.append((slots, pool.submit(signer.sign_items, batch.key_id, batch.gtin, batch.number, slots)))
            if not pending:
                return
            slots, signatures = pending.popleft()
            yield table.rows(slots, signatures.result())
    finally:
        pool.shutdown(cancel_futures=True)


def _check_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < needed + _SPARE_BYTES:
        raise Unavailable(
            Text(
                f"{directory} 所在磁盘空间不足：还需 {_size(needed + _SPARE_BYTES)}，剩余 {_size(free)}；腾出空间后会从断点续写",
                f"the disk of {directory} is too full: {_size(needed + _SPARE_BYTES)} needed, {_size(free)} free; "
                "free some space, and writing continues where it stopped",
            )
        )


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


def _sync_directory(directory: Path) -> None:
    """Wait until the new name is on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
