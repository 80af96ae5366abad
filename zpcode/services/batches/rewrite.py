"""Writes the file of an issued batch again: on request after its removal, or if it is missing or damaged.

The file has the recorded bytes: from the signer if the key may sign and repeats its signatures, else from the kept
signatures. Without either it stays as it is, and the error says why.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from keys.client import SigningService
from zpcode.errors import Conflict, Finding, LostFile, NotFound, Text, Unavailable, ZpError
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, signatures
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.unfinished_file import disk_errors, replacing
from zpcode.store import audit, batches
from zpcode.store.database.session import Engine, transaction

ACTOR: Final = "service:issuing"
REQUESTS_AT_ONCE: Final = 4
"""Removed files of one enterprise that may wait to be written again: signing takes processor time from the orders of others."""


def reissue(
    engine: Engine,
    signer: SigningService,
    number: int,
    *,
    folder: CodeFolder,
    clock: Callable[[], datetime],
    actor: str = ACTOR,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """The path of an issued batch's file. A removed, missing or damaged file is written again, identical to the byte.

    Raises NotFound, Conflict if the batch is not issued, LostFile if its bytes cannot be made again, SignerError if its key
    may no longer sign, and as `code_file.produce` does.
    """
    with batches.issuing(engine, number) as locked:
        batch = load_batch(engine, number)
        if not locked or batch.state is not BatchState.ISSUED:
            text = Text(f"批次 {number} 尚未生成完毕", f"batch {number} is not issued yet")
            raise Conflict(text, (Finding("not_issued", text),))
        if not code_file.verify(batch, folder):
            _restore(batch, signer, folder, progress, None)
        if batch.file_removed_at is not None:
            _record_written(engine, batch, actor, clock())
        return folder.finished(batch)


def request_file(engine: Engine, number: int, caller: Caller, now: datetime) -> Batch:
    """Request the removed file of a batch; a batch whose file is there or requested already is returned unchanged.

    The caller has been allowed to take the codes. Raises NotFound, Conflict with the reason `file_requests` if so many
    files of the enterprise are waiting that this one has to wait.
    """
    with transaction(engine) as connection:
        batch = batches.get(connection, number, lock=True)
        if batch is None:
            raise _missing(number)
        if batch.file_removed_at is None or batch.awaits_file:
            return batch
        if (waiting := batches.awaiting_file(connection, batch.uscc)) >= REQUESTS_AT_ONCE:
            text = Text(
                f"该企业已有 {waiting} 个已清除的码文件等待重新生成，请稍后再试",
                f"{waiting} removed files of this enterprise are being written again; try again when one is ready",
            )
            raise Conflict(text, (Finding("file_requests", text),))
        audit.append(
            connection, at=now, actor=caller.name, action="batch.file-request", object_=f"batch:{number}", detail={}
        )
        batches.change(connection, number, file_requested_at=now)
        return replace(batch, file_requested_at=now)


def write_awaited(
    engine: Engine,
    signer: SigningService,
    batch: Batch,
    folder: CodeFolder,
    clock: Callable[[], datetime],
    stop: threading.Event | None,
) -> Batch:
    """Write the requested file of an issued batch; the caller has the lock for issuing. Unchanged if `stop` was set before the end.

    Raises as `reissue` does; the reason is recorded as the batch's `problem`.
    """
    try:
        if not code_file.verify(batch, folder) and not _restore(batch, signer, folder, None, stop):
            return batch
    except ZpError as error:
        record_problem(engine, batch.number, error.text)
        raise
    return _record_written(engine, batch, ACTOR, clock())


def load_batch(engine: Engine, number: int) -> Batch:
    """A batch. Raises NotFound."""
    with transaction(engine) as connection:
        batch = batches.get(connection, number)
    if batch is None:
        raise _missing(number)
    return batch


def record_problem(engine: Engine, number: int, problem: Text | None) -> None:
    """Record on the batch why it waits, for its enterprise. If the database fails too, only the caller's error remains."""
    with suppress(Unavailable), transaction(engine) as connection:
        batches.note_problem(connection, number, problem)


def _restore(
    batch: Batch,
    signer: SigningService,
    folder: CodeFolder,
    progress: Callable[[int], None] | None,
    stop: threading.Event | None,
) -> bool:
    """Write the file again; a damaged one stays until this one is verified. False when `stop` was set before the end."""
    if batch.sealed and not signatures.are_kept(batch, folder) and not signer.describe(batch.key_id).repeats:
        raise _lost(
            batch, "其密钥的签名不可重现，签名也未保存", "its key does not repeat signatures, and none are kept"
        )
    with disk_errors(folder.path), replacing(folder.finished(batch)):
        file = code_file.produce(batch, signer, folder, report=progress, stop=stop)
        if file is not None and file.sha256 != batch.sha256:
            folder.finished(batch).unlink()
            raise _lost(batch, "重新生成的内容与记录的摘要不符", "what is written now has another digest than recorded")
    return file is not None


def _lost(batch: Batch, zh: str, en: str) -> LostFile:
    text = Text(
        f"批次 {batch.number} 的文件无法还原：{zh}；请由备份恢复文件或签名",
        f"the file of batch {batch.number} cannot be restored to its issued bytes: {en}; restore the file or its signatures "
        "from a backup",
    )
    return LostFile(text, (Finding("file_differs", text),))


def _record_written(engine: Engine, batch: Batch, actor: str, now: datetime) -> Batch:
    """Record that the file is there again; its time begins anew."""
    changes = {"file_removed_at": None, "file_requested_at": now, "problem": ""}
    with transaction(engine) as connection:
        audit.append(
            connection, at=now, actor=actor, action="batch.file-write", object_=f"batch:{batch.number}", detail={}
        )
        batches.change(connection, batch.number, **changes)
    return replace(batch, file_removed_at=None, file_requested_at=now, problem=None)


def _missing(number: int) -> NotFound:
    return NotFound(Text(f"没有批次 {number}", f"there is no batch {number}"))
