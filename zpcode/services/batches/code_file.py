"""The file of a batch: written, resumed after a crash, and finished. Interruptions do not change its bytes.

The file is `batch-NUMBER.SUFFIX.part` at first; each part that is appended has 8192 codes. The file is renamed once it is
complete and on disk. To resume, the format compares each part on disk with the part that belongs there; from the first
one that is short or wrong on, the file is written again. Signatures are deterministic (RFC 6979), so a part is the same
each time.

A file of other content is never overwritten, whatever its name: a database that was restored from a backup gives a
number again, with other secret keys and so with other codes. A file belongs to a batch if at least one complete row in it
is a code of this batch. A file without any code may be overwritten: a crash leaves such files.

Memory does not grow with the batch: only a few parts are in work at a time.
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

from keys.client import SigningService
from zpcode.errors import Conflict, Finding, ForeignFile, Text, Unavailable
from zpcode.exports.base import FileLayout, Slots
from zpcode.exports.formats import file_name, layout_of
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.payload import Level

CHUNK: Final = 8192
IN_FLIGHT: Final = 2 * len(os.sched_getaffinity(0)) + 1
_SPARE_BYTES = 64 << 20  # left free on the disk for other programs
_WRITE_BACK_BYTES = 32 << 20
_BLOCK = 1 << 20


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
        size = part_path(directory, batch).stat().st_size
        return layout_of(batch).codes_in(size)
    except (OSError, Unavailable):
        return 0


def produce(
    batch: Batch,
    signer: SigningService,
    directory: Path,
    *,
    report: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> CodeFile | None:
    """Write a batch's file, or continue an unfinished one; None when `stop` was set before the end.

    `report` is called with the number of codes in the file. Raises SignerError, SignerUnavailable, ForeignFile if a file
    of other content has the name (it stays as it is), Conflict if another process of this machine is writing the file,
    Unavailable if the disk is full or broken or the format is unknown. What was written stays; the next call continues
    from it.
    """
    layout = layout_of(batch)
    part, finished = part_path(directory, batch), directory / file_name(batch)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if finished.exists():
            _refuse_foreign(finished, batch)
            if not part.exists():
                finished.rename(part)  # complete, but not recorded: the file is checked like an unfinished one
        with _opened(part) as file:
            _refuse_foreign(part, batch)
            unfinished = _UnfinishedFile(file, layout, batch.codes)
            unfinished.resume()
            _check_space(directory, layout.size - unfinished.size)
            if not _complete(unfinished, batch, signer, report, stop):
                return None
            sha256 = unfinished.finish()
            part.rename(finished)
            _sync_directory(directory)
    except OSError as error:
        raise _disk(directory, error) from error
    return CodeFile(sha256, unfinished.size)


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
    """The first `count` printed URLs in a batch's finished file; fewer where it has fewer. The rest is not read."""
    with (directory / file_name(batch)).open("rb") as file:
        codes = layout_of(batch).codes(file, [range(min(count, batch.codes))])
        return [code.url for code in codes if code.url is not None]


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


def _refuse_foreign(path: Path, batch: Batch) -> None:
    """Raise ForeignFile unless the file has a code of this batch, or no code at all."""
    with path.open("rb") as file:
        spans = (range(at, min(at + CHUNK, batch.codes)) for at in range(0, batch.codes, CHUNK))
        layout = layout_of(batch)
        if any(code.intact for code in layout.codes(file, spans)) or _without_codes(file, layout):
            return
    text = Text(
        f"{path} 的内容不是批次 {batch.number} 的码，不会被覆盖：该序号可能曾发给另一批次（例如数据库由备份恢复）；请先查明来历，再把文件移走",
        f"{path} is not a file of batch {batch.number} and is not overwritten: the number may have been given to another "
        "batch before (for example, the database was restored from a backup); find out where the file is from, then "
        "move it away",
    )
    raise ForeignFile(text, (Finding("file_of_other_content", text, path.name),))


def _without_codes(file: BinaryIO, layout: FileLayout) -> bool:
    """Whether a crash may have left the file before its first code: a part of header and first code, zeros, or nothing."""
    file.seek(0)
    begin = file.read(len(layout.header)).rstrip(b"\0")
    if begin != layout.header[: len(begin)]:
        return False
    if layout.codes_in(os.fstat(file.fileno()).st_size) == 0:
        return True
    return not any(block.strip(b"\0") for block in iter(lambda: file.read(_BLOCK), b""))


class _UnfinishedFile:
    """An unfinished file: how many codes (`done`) and bytes (`size`) are complete, and the SHA-256 so far."""

    def __init__(self, file: BinaryIO, layout: FileLayout, codes: int) -> None:
        self._file, self.layout, self._codes = file, layout, codes
        self.done, self.size = 0, len(layout.header)
        self._digest = hashlib.sha256(layout.header)
        self._sent_to_disk = 0

    def resume(self) -> None:
        """Compare the parts on disk with the parts that belong there, and cut the file off before the first wrong one."""
        layout, file = self.layout, self._file
        if file.read(len(layout.header)) == layout.header:
            while (count := self._next()) and (part := layout.part_at(file, self.done, count)) is not None:
                self._add(part, count)
        if self.done == 0:
            file.seek(0)
            file.write(layout.header)
            file.flush()
        file.truncate(self.size)
        file.seek(self.size)

    def append(self, part: bytes | memoryview) -> None:
        """Write the next part."""
        self._file.write(part)
        self._add(part, self._next())
        if self.size - self._sent_to_disk >= _WRITE_BACK_BYTES:
            self._file.flush()
            # Linux starts to write these pages to disk in the background, so the last fsync has little left to do.
            os.posix_fadvise(self._file.fileno(), self._sent_to_disk, self.size, os.POSIX_FADV_DONTNEED)
            self._sent_to_disk = self.size

    def finish(self) -> str:
        """Write the footer, wait until all bytes are on disk, and return the SHA-256 in hex."""
        footer = self.layout.footer()
        self._file.write(footer)
        self._add(footer, 0)
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._digest.hexdigest()

    def _next(self) -> int:
        """How many codes the next part has; 0 after the last."""
        return min(CHUNK, self._codes - self.done)

    def _add(self, data: bytes | memoryview, codes: int) -> None:
        self._digest.update(data)
        self.size += len(data)
        self.done += codes


def _complete(
    unfinished: _UnfinishedFile,
    batch: Batch,
    signer: SigningService,
    report: Callable[[int], None] | None,
    stop: threading.Event | None,
) -> bool:
    """Append the missing parts; False when asked to stop before the last."""
    with closing(_signed(batch, signer, unfinished.done)) as signed:
        for slots, signatures in signed:
            # `part` keeps the last part until the next one is made: to free its memory first costs a sixth of the speed.
            part = unfinished.layout.part(slots, signatures)
            unfinished.append(part)
            if report is not None:
                report(unfinished.done)
            if stop is not None and stop.is_set() and unfinished.done < batch.codes:
                return False
    return True


def _signed(batch: Batch, signer: SigningService, first: int) -> Generator[tuple[Slots, bytes]]:
    """Slots and signatures of the codes from index `first` on, for a part at a time (`FileLayout.part`)."""
    if not batch.level.is_item:
        if first == 0:
            yield bulk.slots(batch.permutation_key, 0, 0), _single(batch, signer)
    elif batch.sealed:
        yield from _signed_items(batch, signer, first)
    else:
        for start in range(first, batch.codes, CHUNK):
            yield _slots(batch, start), b""


def _slots(batch: Batch, start: int) -> Slots:
    return bulk.slots(batch.permutation_key, start, min(CHUNK, batch.codes - start))


def _single(batch: Batch, signer: SigningService) -> bytes:
    if batch.level is Level.LOT:
        return signer.sign_lot(batch.key_id, batch.gtin, batch.lot)
    return signer.sign_product(batch.key_id, batch.gtin)


def _signed_items(batch: Batch, signer: SigningService, first: int) -> Generator[tuple[Slots, bytes]]:
    """In order. More requests wait at the signer than it has processes, so that none of them is idle."""
    starts = iter(range(first, batch.codes, CHUNK))
    pending: deque[tuple[Slots, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="sign")
    try:
        while True:
            for start in itertools.islice(starts, IN_FLIGHT - len(pending)):
                slots = _slots(batch, start)
                pending.append((slots, pool.submit(signer.sign_items, batch.key_id, batch.gtin, batch.number, slots)))
            if not pending:
                return
            slots, signatures = pending.popleft()
            yield slots, signatures.result()
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
