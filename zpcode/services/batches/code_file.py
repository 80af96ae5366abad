"""The file of a batch: written, resumed after a crash, and finished. Interruptions do not change its bytes.

The file is `batch-NUMBER.SUFFIX.part` at first; each part that is appended has 8192 codes, or fewer where codes are large
(`codes_a_part`). The file is renamed once it is complete and on disk. To resume, the format compares each part on disk with
the part that belongs there; from the first one that is short or wrong on, the file is written again. A part is the same each
time: the signatures are deterministic (RFC 6979), or else they are kept (`signatures`).

The file is encrypted (`encrypted_file`). "Bytes", "size" and "SHA-256" mean the content, which is what an enterprise
downloads. A file of other content is never overwritten (`ownership`). Memory does not grow with the batch.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Final

from keys.client import SigningService
from zpcode.errors import Unavailable
from zpcode.exports.base import codes_a_part
from zpcode.exports.formats import layout_of
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import ownership, signatures
from zpcode.services.batches.code_folder import CodeFolder, FileKeyMissing, label_of
from zpcode.services.batches.encrypted_file import content_bytes
from zpcode.services.batches.file_cipher import Content, DamagedFile
from zpcode.services.batches.unfinished_file import CodeFile, Parts, UnfinishedFile, disk_errors

CHUNK: Final = 8192


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
    layout, label, keys = layout_of(batch), label_of(batch, Content.CODES), folder.keys()
    part, finished = folder.unfinished(batch), folder.finished(batch)
    with disk_errors(folder.path):
        folder.make()
        ownership.refuse_foreign(finished, label, keys)
        if finished.exists() and not part.exists():
            finished.rename(part)  # complete, but not recorded: the file is checked like an unfinished one
        with ownership.locked(part, label) as file:
            unfinished = UnfinishedFile(file, layout, batch.codes, codes_a_part(layout.code_bytes, CHUNK))
            unfinished.resume(part, label, keys)
            unfinished.check_space(folder.path)
            parts = _missing_parts(unfinished, batch, signer, folder, stop)
            if parts is None or not unfinished.complete(parts, report, stop):
                return None
            return unfinished.finish(part, finished)


def _missing_parts(
    unfinished: UnfinishedFile, batch: Batch, signer: SigningService, folder: CodeFolder, stop: threading.Event | None
) -> Parts | None:
    """The parts that the file still lacks; None when `stop` was set before all signatures were kept.

    Where signatures are kept, all parts are written from them: what an interrupted run left may have others.
    """
    kept = batch.sealed and signatures.are_kept(batch, folder)
    if not kept and batch.sealed and unfinished.done < batch.codes and not signer.describe(batch.key_id).repeats:
        if signatures.keep(batch, signer, folder, CHUNK, stop=stop) is None:
            return None
        kept = True
    if kept:
        unfinished.restart()
        return signatures.from_file(batch, folder, unfinished.chunk)
    return signatures.from_signer(batch, signer, unfinished.done, unfinished.chunk)


def rebuilt_digest(batch: Batch, folder: CodeFolder) -> str:
    """The SHA-256 of the file that the kept signatures give, in hex; nothing is written. Raises as `produce` does."""
    layout = layout_of(batch)
    content = hashlib.sha256(layout.header)
    for slots, signed in signatures.from_file(batch, folder, codes_a_part(layout.code_bytes, CHUNK)):
        content.update(layout.part(slots, signed))
    content.update(layout.footer())
    return content.hexdigest()


def verify(batch: Batch, folder: CodeFolder) -> bool:
    """Whether the finished file exists and has the SHA-256 that was recorded when the batch was issued.

    A file whose key is lost is as good as none. Raises ForeignFile if it is another file, Unavailable if there is no key file
    or the disk is broken.
    """
    with disk_errors(folder.path):
        try:
            with folder.open(batch) as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == batch.sha256
        except (FileNotFoundError, DamagedFile, FileKeyMissing):
            return False


def first_urls(batch: Batch, folder: CodeFolder, count: int) -> list[str]:
    """The first `count` printed URLs in a batch's finished file; fewer where it has fewer. The rest is not read."""
    with folder.open(batch) as file:
        codes = layout_of(batch).codes(file, [range(min(count, batch.codes))])
        return [code.url for code in codes if code.url is not None]
