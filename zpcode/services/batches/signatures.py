"""The signatures of a batch's codes: from the signer, or from a file in which they are kept.

They are kept where the signer could not give them again: if the key does not repeat its signatures (many tokens), and before a
key is retired (`archive`). The file `batch-NUMBER.signatures` has 64 bytes for each code in the order of the indices, and is
encrypted like a code file. With it, a code file can be written again, the same to the byte, without the signer.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, Final

from keys.client import SigningService
from zpcode.errors import Text, Unavailable
from zpcode.exports.base import Slots
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import ownership
from zpcode.services.batches.code_folder import CodeFolder, label_of
from zpcode.services.batches.file_cipher import Content, DamagedFile
from zpcode.services.batches.unfinished_file import CodeFile, Parts, UnfinishedFile, disk_errors
from zpcode.wire import bulk
from zpcode.wire.payload import SIGNATURE_BYTES, Level

IN_FLIGHT: Final = 2 * len(os.sched_getaffinity(0)) + 1


class SignatureLayout:
    """The layout of a file of signatures: nothing but the signatures."""

    header = b""

    def __init__(self, codes: int) -> None:
        self.size = codes * SIGNATURE_BYTES

    def part(self, slots: Slots, signatures: bytes) -> bytes:  # noqa: ARG002 - the slots are in the database
        """The signatures."""
        return signatures

    def part_at(self, file: BinaryIO, first: int, count: int) -> bytes | None:  # noqa: ARG002 - read in order
        """The next signatures, None where they are incomplete. The chunks are authenticated, so they are what was written."""
        part = file.read(count * SIGNATURE_BYTES)
        return part if len(part) == count * SIGNATURE_BYTES else None

    def footer(self) -> bytes:
        """Nothing."""
        return b""


def are_kept(batch: Batch, folder: CodeFolder) -> bool:
    """Whether there is a finished file with the signatures of this batch. Raises ForeignFile if it is another's."""
    path = folder.signatures(batch)
    ownership.refuse_foreign(path, label_of(batch, Content.SIGNATURES), folder.keys())
    return path.exists()


def keep(
    batch: Batch,
    signer: SigningService,
    folder: CodeFolder,
    chunk: int,
    *,
    report: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> CodeFile | None:
    """Sign all codes of a batch and keep the signatures, or continue; None when `stop` was set before the end.

    A signature that is on disk is not made again. Raises as `code_file.produce` does.
    """
    label, keys = label_of(batch, Content.SIGNATURES), folder.keys()
    finished = folder.signatures(batch)
    part = finished.with_name(f"{finished.name}.part")
    with disk_errors(folder.path):
        ownership.refuse_foreign(finished, label, keys)
        if finished.exists() and not part.exists():
            finished.rename(part)
        with ownership.locked(part, label) as file:
            unfinished = UnfinishedFile(file, SignatureLayout(batch.codes), batch.codes, chunk)
            unfinished.resume(part, label, keys)
            unfinished.check_space(folder.path)
            if not unfinished.complete(from_signer(batch, signer, unfinished.done, chunk), report, stop):
                return None
            return unfinished.finish(part, finished)


def digest(batch: Batch, folder: CodeFolder) -> str:
    """The SHA-256 of the kept signatures in hex. Raises OSError, DamagedFile, ForeignFile, Unavailable."""
    with folder.open(batch, folder.signatures(batch), Content.SIGNATURES) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def from_file(batch: Batch, folder: CodeFolder, chunk: int) -> Parts:
    """All parts, with the kept signatures. Raises Unavailable if the file is damaged."""
    path = folder.signatures(batch)
    try:
        with folder.open(batch, path, Content.SIGNATURES) as file:
            for start in range(0, batch.codes, chunk):
                count = min(chunk, batch.codes - start)
                yield _slots(batch, start, chunk), _exactly(file, count * SIGNATURE_BYTES)
    except DamagedFile as damage:
        zh, en = f"{path} 已损坏（{damage}），请由备份恢复", f"{path} is damaged ({damage}); restore it from a backup"
        raise Unavailable(Text(zh, en)) from damage


def _exactly(file: BinaryIO, size: int) -> bytes:
    if len(data := file.read(size)) != size:
        raise DamagedFile("length")
    return data


def from_signer(batch: Batch, signer: SigningService, first: int, chunk: int) -> Parts:
    """The parts from index `first` on, signed now; at compact level without signatures."""
    if not batch.level.is_item:
        if first == 0:
            yield _slots(batch, 0, chunk), _single(batch, signer)
    elif batch.sealed:
        yield from _signed_items(batch, signer, first, chunk)
    else:
        for start in range(first, batch.codes, chunk):
            yield _slots(batch, start, chunk), b""


def _slots(batch: Batch, start: int, chunk: int) -> Slots:
    count = min(chunk, batch.codes - start) if batch.level.is_item else 0
    return bulk.slots(batch.permutation_key, start, count)


def _single(batch: Batch, signer: SigningService) -> bytes:
    if batch.level is Level.LOT:
        return signer.sign_lot(batch.key_id, batch.gtin, batch.lot)
    return signer.sign_product(batch.key_id, batch.gtin)


def _signed_items(batch: Batch, signer: SigningService, first: int, chunk: int) -> Parts:
    """In order. More requests wait at the signer than it has processes, so that none of them is idle."""
    starts = iter(range(first, batch.codes, chunk))
    pending: deque[tuple[Slots, Future[bytes]]] = deque()
    pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="sign")
    try:
        while True:
            for start in itertools.islice(starts, IN_FLIGHT - len(pending)):
                slots = _slots(batch, start, chunk)
                pending.append((slots, pool.submit(signer.sign_items, batch.key_id, batch.gtin, batch.number, slots)))
            if not pending:
                return
            slots, signatures = pending.popleft()
            yield slots, signatures.result()
    finally:
        pool.shutdown(cancel_futures=True)
