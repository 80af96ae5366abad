"""The file of a batch: written, resumed after a crash, and finished. Interruptions do not change its bytes.

The file is `batch-NUMBER.SUFFIX.part` at first; each part that is appended has 8192 codes. The file is renamed once it is
complete and on disk. To resume, the format compares each part on disk with the part that belongs there; from the first
one that is short or wrong on, the file is written again. Signatures are deterministic (RFC 6979), so a part is the same
each time.

The file is encrypted (`encrypted_file`). "Bytes", "size" and "SHA-256" mean the content, which is what an enterprise
downloads. A file of other content is never overwritten (`code_folder`).

Memory does not grow with the batch: only a few parts are in work at a time.
"""

from __future__ import annotations

import errno
import hashlib
import io
import itertools
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from keys.client import SigningService
from zpcode.errors import Text, Unavailable
from zpcode.exports.base import FileLayout, Slots
from zpcode.exports.formats import layout_of
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import code_folder
from zpcode.services.batches.code_folder import CodeFolder, FileKeyMissing, label_of
from zpcode.services.batches.encrypted_file import (
    CHUNK_BYTES,
    Content,
    DamagedFile,
    DecryptedFile,
    EncryptedAppender,
    FileCipher,
    content_bytes,
    disk_bytes,
)
from zpcode.services.batches.file_keys import EncryptionKeys
from zpcode.wire import bulk
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


def progress(folder: CodeFolder, batch: Batch) -> int:
    """How many of a reserved batch's codes have been written so far."""
    try:
        size = content_bytes(folder.unfinished(batch).stat().st_size)
        return layout_of(batch).codes_in(size)
    except (OSError, Unavailable):
        return 0


def produce(
    batch: Batch,
    signer: SigningService,
    folder: CodeFolder,
    *,
    report: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> CodeFile | None:
    """Write a batch's file, or continue an unfinished one; None when `stop` was set before the end.

    `report` is called with the number of codes in the file. Raises SignerError, SignerUnavailable, ForeignFile if a file
    of other content has the name (it stays as it is), Conflict if another process of this machine is writing the file,
    Unavailable if the disk is full or broken, the format is unknown or there is no key to encrypt with. What was written
    stays; the next call continues from it.
    """
    layout, keys = layout_of(batch), folder.keys()
    part, finished, label = folder.unfinished(batch), folder.finished(batch), label_of(batch, Content.CODES)
    try:
        folder.make()
        code_folder.refuse_foreign(finished, label, keys)
        if finished.exists() and not part.exists():
            finished.rename(part)  # complete, but not recorded: the file is checked like an unfinished one
        with code_folder.locked(part) as file:
            unfinished = _UnfinishedFile(file, layout, batch.codes)
            unfinished.resume(*_begun(file, part, batch, keys))
            _check_space(folder.path, disk_bytes(layout.size) - disk_bytes(unfinished.size))
            if not _complete(unfinished, batch, signer, report, stop):
                return None
            sha256 = unfinished.finish()
            part.rename(finished)
            code_folder.sync_directory(folder.path)
    except OSError as error:
        raise _disk(folder.path, error) from error
    return CodeFile(sha256, unfinished.size)


def verify(batch: Batch, folder: CodeFolder) -> bool:
    """Whether the finished file exists and has the SHA-256 that was recorded when the batch was issued.

    A file whose key is lost is as good as none. Raises ForeignFile if it is another file, Unavailable if there is no key file
    or the disk is broken.
    """
    try:
        with folder.open(batch) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == batch.sha256
    except (FileNotFoundError, DamagedFile, FileKeyMissing):
        return False
    except OSError as error:
        raise _disk(folder.path, error) from error


def first_urls(batch: Batch, folder: CodeFolder, count: int) -> list[str]:
    """The first `count` printed URLs in a batch's finished file; fewer where it has fewer. The rest is not read."""
    with folder.open(batch) as file:
        codes = layout_of(batch).codes(file, [range(min(count, batch.codes))])
        return [code.url for code in codes if code.url is not None]


def discard(batch: Batch, folder: CodeFolder) -> None:
    """Delete an unfinished file."""
    folder.unfinished(batch).unlink(missing_ok=True)


def _begun(file: BinaryIO, path: Path, batch: Batch, keys: EncryptionKeys) -> tuple[FileCipher, bool]:
    """The cipher of an unfinished file, and whether the file has content to continue from.

    The header of a new file is on disk before its first code: whatever a crash leaves, the file says whose it is.
    """
    label = label_of(batch, Content.CODES)
    cipher = code_folder.continued(file, path, label, keys)
    if cipher is not None:
        return cipher, True
    cipher = FileCipher.fresh(keys.current, label)
    file.seek(0)
    file.truncate(0)
    file.write(cipher.header)
    file.flush()
    os.fsync(file.fileno())
    code_folder.sync_directory(path.parent)
    return cipher, False


class _UnfinishedFile:
    """An unfinished file: how many codes (`done`) and bytes (`size`) are complete, and the SHA-256 so far."""

    def __init__(self, file: BinaryIO, layout: FileLayout, codes: int) -> None:
        self._file, self.layout, self._codes = file, layout, codes
        self.done, self.size = 0, 0
        self._digest = hashlib.sha256()
        self._sent_to_disk = 0

    def resume(self, cipher: FileCipher, has_content: bool) -> None:
        """Compare the parts on disk with the parts that belong there, and cut the file off before the first wrong one."""
        self._appender = EncryptedAppender(self._file, cipher)
        content = DecryptedFile(self._file, cipher, complete=False)
        if has_content:
            self._read(io.BufferedReader(content, CHUNK_BYTES))
        if self.done:
            self._appender.truncate(self.size, content)
        else:
            self._appender.truncate(0)
            self._digest, self.size = hashlib.sha256(), 0
            self._append(self.layout.header, 0)

    def append(self, part: bytes | memoryview) -> None:
        """Write the next part."""
        self._append(part, self._next())
        if self.size - self._sent_to_disk >= _WRITE_BACK_BYTES:
            # Linux starts to write these pages to disk in the background, so the last fsync has little left to do.
            os.posix_fadvise(self._file.fileno(), self._sent_to_disk, self.size, os.POSIX_FADV_DONTNEED)
            self._sent_to_disk = self.size

    def finish(self) -> str:
        """Write the footer, wait until all bytes are on disk, and return the SHA-256 in hex."""
        self._append(self.layout.footer(), 0)
        self._appender.finish()
        return self._digest.hexdigest()

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
        return min(CHUNK, self._codes - self.done)

    def _append(self, data: bytes | memoryview, codes: int) -> None:
        self._appender.append(data)
        self._add(data, codes)

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
