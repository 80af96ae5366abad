"""Issues a reserved batch: its file is written first, then the database is changed in one transaction.

It may be stopped at any point without loss. A batch stays reserved until its file is complete and on disk; the next call
continues from the last complete chunk.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from keys.client import SigningService
from zpcode.errors import Conflict, Finding, ForeignFile, SignerError, SignerUnavailable, Text, Unavailable
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.rules.record_digest import utc_text
from zpcode.services.batches import code_file, signatures
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.reserve import put_batch_cards
from zpcode.services.batches.rewrite import ACTOR, load_batch, record_problem, write_awaited
from zpcode.services.batches.unfinished_file import CodeFile
from zpcode.store import audit, batches
from zpcode.store.database.session import Engine, transaction


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
    """Write the file of a reserved batch into `folder` and issue the batch. An issued batch is returned unchanged;
    if its file was removed and has been requested, the file is written again.

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
        batch = load_batch(engine, number)
        if batch.awaits_file:
            return write_awaited(engine, signer, batch, folder, clock, stop)
        if batch.state is not BatchState.RESERVED:
            return batch
        try:
            batch, file = _write(engine, signer, batch, folder, clock, progress, stop)
        except (ForeignFile, SignerError, Unavailable) as error:
            record_problem(engine, number, error.text)
            raise
        return batch if file is None else _finish(engine, number, file, _kept_digest(batch, folder), clock())


def _write(
    engine: Engine,
    signer: SigningService,
    batch: Batch,
    folder: CodeFolder,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] | None,
    stop: threading.Event | None,
) -> tuple[Batch, CodeFile | None]:
    """Write the file with the key that the batch began with; if that key may no longer sign, all of it with the active key."""
    if batch.problem is not None:
        record_problem(engine, batch.number, None)
    if batch.sealed and not batch.key_id:
        batch = _begin(engine, batch, signer.active_key(), clock())
    try:
        if batch.sealed:
            # A complete file needs no signature. But its key may have been revoked since.
            signer.describe(batch.key_id)
        return batch, code_file.produce(batch, signer, folder, report=progress, stop=stop)
    except SignerUnavailable:
        raise
    except SignerError:
        active = signer.active_key()
        if active == batch.key_id:
            raise
        # The key was retired or revoked meanwhile. No code has been released, so all are signed again.
        folder.discard(batch)
        batch = _begin(engine, batch, active, clock())
        return batch, code_file.produce(batch, signer, folder, report=progress, stop=stop)


def _kept_digest(batch: Batch, folder: CodeFolder) -> str:
    return signatures.digest(batch, folder) if batch.sealed and signatures.are_kept(batch, folder) else ""


def _begin(engine: Engine, batch: Batch, key_id: str, now: datetime) -> Batch:
    """Record the signing key before the first signature: an interrupted file is continued with the same key."""
    with transaction(engine) as connection:
        detail = {"key_id": key_id, "instead_of": batch.key_id}
        audit.append(
            connection, at=now, actor=ACTOR, action="batch.begin", object_=f"batch:{batch.number}", detail=detail
        )
        batches.change(connection, batch.number, key_id=key_id)
    return replace(batch, key_id=key_id)


def _finish(engine: Engine, number: int, file: CodeFile, signatures_sha256: str, now: datetime) -> Batch:
    """Mark the batch as issued: file hash, activation, audit entry and cards in one transaction."""
    with transaction(engine) as connection:
        batch = batches.get(connection, number, lock=True)
        if batch is None or batch.state is not BatchState.RESERVED:
            raise Conflict(Text(f"批次 {number} 的状态已改变", f"batch {number} has changed in the meantime"))
        activated = now if batch.activation is Activation.ON_ISSUE else None
        written = {"sha256": file.sha256, "bytes": file.bytes, "signatures_sha256": signatures_sha256}
        changes: dict[str, Any] = {"state": BatchState.ISSUED, "issued_at": now, "activated_at": activated, **written}
        issued = replace(batch, **changes, problem=None)
        detail = issue_detail(issued)
        audit.append(connection, at=now, actor=ACTOR, action="batch.issue", object_=f"batch:{number}", detail=detail)
        batches.change(connection, number, **changes, problem="")
        put_batch_cards(connection, issued)
        return issued


def issue_detail(batch: Batch) -> dict[str, Any]:
    """What the audit log has of an issued batch."""
    detail = {
        "sha256": batch.sha256,
        "bytes": batch.bytes,
        "key_id": batch.key_id,
        "active": batch.activated_at is not None,
        "issued_at": batch.issued_at and utc_text(batch.issued_at),
        "activated_at": batch.activated_at and utc_text(batch.activated_at),
    }
    return detail | ({"signatures_sha256": batch.signatures_sha256} if batch.signatures_sha256 else {})
