"""Issues a reserved batch: its file is written first, then the database is changed in one transaction.

It may be stopped at any point without loss. A batch stays reserved until its file is complete and on disk; the next call
continues from the last complete chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from keys.client import SigningService
from zpcode.errors import Conflict, Finding, ForeignFile, NotFound, SignerError, SignerUnavailable, Text, Unavailable
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.services.batches import code_file
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.reserve import put_batch_cards
from zpcode.store import audit, batches
from zpcode.store.database.session import Engine, transaction

ACTOR = "service:issuing"


def issue(
    engine: Engine,
    signer: SigningService,
    number: int,
    *,
    folder: CodeFolder,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> Batch:
    """Write the file of a reserved batch into `folder` and issue the batch. An issued batch is returned unchanged.

    `clock` gives aware times, `progress` is called with the number of codes written. When `stop` is set, it ends after
    the current chunk and returns the batch, which is still reserved. Raises SignerUnavailable, SignerError, Unavailable
    (disk, database or file format), ForeignFile (a file of other content has the name of this batch's file): the batch
    then stays reserved, with the reason as its `problem`. Raises Conflict while another process issues the batch,
    NotFound.
    """
    with batches.issuing(engine, number) as locked:
        if not locked:
            text = Text(f"批次 {number} 正由另一个进程生成", f"batch {number} is being issued by another process")
            raise Conflict(text, (Finding("being_issued", text),))
        batch = _load(engine, number)
        if batch.state is not BatchState.RESERVED:
            return batch
        try:
            batch, file = _write(engine, signer, batch, folder, clock, progress, stop)
        except (ForeignFile, SignerError, Unavailable) as error:
            _record_problem(engine, number, error.text)
            raise
        return batch if file is None else _finish(engine, number, file, clock())


def reissue(
    engine: Engine,
    signer: SigningService,
    number: int,
    *,
    folder: CodeFolder,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """The path of an issued batch's file. A missing or damaged file is written again, identical to the byte.

    Raises NotFound, Conflict if the batch is not issued or its bytes cannot be restored, SignerError if its key
    may no longer sign.
    """
    with batches.issuing(engine, number) as locked:
        batch = _load(engine, number)
        if not locked or batch.state is not BatchState.ISSUED:
            text = Text(f"批次 {number} 尚未生成完毕", f"batch {number} is not issued yet")
            raise Conflict(text, (Finding("not_issued", text),))
        if not code_file.verify(batch, folder):
            _restore(batch, signer, folder, progress)
        return folder.finished(batch)


def _restore(batch: Batch, signer: SigningService, folder: CodeFolder, progress: Callable[[int], None] | None) -> None:
    """Write an issued batch's file again. What is on disk and undamaged is not signed again."""
    file = code_file.produce(batch, signer, folder, report=progress)
    if file is not None and file.sha256 == batch.sha256:
        return
    folder.finished(batch).unlink()
    text = Text(
        f"批次 {batch.number} 的文件无法还原",
        f"the file of batch {batch.number} cannot be restored to its issued bytes",
    )
    raise Conflict(text, (Finding("file_differs", text),))


def _load(engine: Engine, number: int) -> Batch:
    with transaction(engine) as connection:
        batch = batches.get(connection, number)
    if batch is None:
        raise NotFound(Text(f"没有批次 {number}", f"there is no batch {number}"))
    return batch


def _write(
    engine: Engine,
    signer: SigningService,
    batch: Batch,
    folder: CodeFolder,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None,
    stop: threading.Event | None,
) -> tuple[Batch, code_file.CodeFile | None]:
    """Write the file with the key that the batch began with; if that key may no longer sign, all of it with the active key."""
    if batch.problem is not None:
        _record_problem(engine, batch.number, None)
    if batch.sealed and not batch.key_id:
        batch = _begin(engine, batch, signer.active_key(), clock())
    try:
        return batch, code_file.produce(batch, signer, folder, report=progress, stop=stop)
    except SignerUnavailable:
        raise
    except SignerError:
        active = signer.active_key()
        if active == batch.key_id:
            raise
        # The key was retired or revoked meanwhile. No code has been released, so all are signed again.
        code_file.discard(batch, folder)
        batch = _begin(engine, batch, active, clock())
        return batch, code_file.produce(batch, signer, folder, report=progress, stop=stop)


def _begin(engine: Engine, batch: Batch, key_id: str, now: datetime) -> Batch:
    """Record the signing key before the first signature: an interrupted file is continued with the same key."""
    with transaction(engine) as connection:
        detail = {"key_id": key_id, "instead_of": batch.key_id}
        audit.append(
            connection, at=now, actor=ACTOR, action="batch.begin", object_=f"batch:{batch.number}", detail=detail
        )
        batches.change(connection, batch.number, key_id=key_id)
    return replace(batch, key_id=key_id)


def _finish(engine: Engine, number: int, file: code_file.CodeFile, now: datetime) -> Batch:
    """Mark the batch as issued: file hash, activation, audit entry and cards in one transaction."""
    with transaction(engine) as connection:
        batch = batches.get(connection, number, lock=True)
        if batch is None or batch.state is not BatchState.RESERVED:
            raise Conflict(Text(f"批次 {number} 的状态已改变", f"batch {number} has changed in the meantime"))
        activated = now if batch.activation is Activation.ON_ISSUE else None
        detail = issue_detail(replace(batch, sha256=file.sha256, bytes=file.bytes, activated_at=activated))
        audit.append(connection, at=now, actor=ACTOR, action="batch.issue", object_=f"batch:{number}", detail=detail)
        batches.change(
            connection,
            number,
            state=BatchState.ISSUED.value,
            sha256=file.sha256,
            bytes=file.bytes,
            issued_at=now,
            activated_at=activated,
            problem="",
        )
        issued = replace(
            batch,
            state=BatchState.ISSUED,
            sha256=file.sha256,
            bytes=file.bytes,
            issued_at=now,
            activated_at=activated,
            problem=None,
        )
        put_batch_cards(connection, issued)
        return issued


def issue_detail(batch: Batch) -> dict[str, Any]:
    """What the audit log has of an issued batch."""
    return {
        "sha256": batch.sha256,
        "bytes": batch.bytes,
        "key_id": batch.key_id,
        "active": batch.activated_at is not None,
    }


def _record_problem(engine: Engine, number: int, problem: Text | None) -> None:
    """Record on the batch why it waits, for its enterprise. If the database fails too, only the caller's error remains."""
    with suppress(Unavailable), transaction(engine) as connection:
        batches.note_problem(connection, number, problem)
