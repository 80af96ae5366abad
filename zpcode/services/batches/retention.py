"""Removes code files after their time. A file is removed only if it can be written again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from keys.client import SigningService
from zpcode.errors import SignerError, SignerUnavailable, Unavailable
from zpcode.exports.formats import EXPORTS
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import ownership, signatures
from zpcode.services.batches.archive import KeyArchive
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.unfinished_file import disk_errors
from zpcode.store import audit, batches
from zpcode.store.database.session import Engine, transaction

ACTOR: Final = "service:retention"
ENDS_SOON: Final = timedelta(days=30)
_MANY: Final = 100


def remove_files(engine: Engine, signer: SigningService, folder: CodeFolder, days: int, now: datetime) -> int:
    """Remove the files that were written, and last requested, more than `days` ago (0: none); returns how many.

    A file stays if it could not be written again: its key may not sign any more or does not repeat its signatures, and they
    are not kept. Raises Unavailable.
    """
    before, after, removed, stuck = now - timedelta(days=days), 0, 0, set[str]()
    while days:
        with transaction(engine) as connection:
            due = batches.files_kept_since(connection, before, after, stuck, _MANY)
        if not due:
            break
        for batch in due:
            after = batch.number
            if _can_be_made_again(batch, signer, folder, stuck):
                removed += _remove(engine, folder, batch, before, now)
    return removed


def archive_ending(
    engine: Engine,
    signer: SigningService,
    folder: CodeFolder,
    now: datetime,
    *,
    report: Callable[[int], None] | None = None,
    stop: threading.Event | None = None,
) -> int:
    """Keep the signatures of removed files whose key may sign for less than 30 days; returns of how many batches.

    After its last day a key cannot sign, and nobody may have retired it in time. Raises Unavailable.
    """
    with transaction(engine) as connection:
        keys = batches.keys_of_removed_files(connection)
    count = 0
    for key_id in keys:
        try:
            until = signer.describe(key_id).until
        except SignerUnavailable as error:
            raise Unavailable(error.text) from error
        except SignerError:
            continue  # too late; fsck reports it
        if until - now < ENDS_SOON:
            archive = KeyArchive(engine, signer, folder, ACTOR, now, report, stop)
            count += len(archive.archive(key_id, removed_only=True).archived)
    return count


def _can_be_made_again(batch: Batch, signer: SigningService, folder: CodeFolder, stuck: set[str]) -> bool:
    """Adds the key to `stuck` if it cannot make files again."""
    if batch.format not in EXPORTS:
        return False
    if not batch.sealed or (batch.signatures_sha256 and signatures.are_kept(batch, folder)):
        return True
    if batch.key_id in stuck:
        return False
    try:
        repeats = signer.describe(batch.key_id).repeats
    except SignerUnavailable as error:
        raise Unavailable(error.text) from error
    except SignerError:
        repeats = False
    if not repeats:
        stuck.add(batch.key_id)
    return repeats


def _remove(engine: Engine, folder: CodeFolder, due: Batch, before: datetime, now: datetime) -> bool:
    """Remove one file. It is gone from the disk before the commit: after a crash between the two it is due again."""
    with batches.issuing(engine, due.number) as locked:
        if not locked:
            return False
        with transaction(engine) as connection, disk_errors(folder.path):
            batch = batches.get(connection, due.number, lock=True)
            if batch is None or batch.file_removed_at or (batch.file_requested_at or before) > before:
                return False
            where = f"batch:{batch.number}"
            audit.append(connection, at=now, actor=ACTOR, action="batch.file-remove", object_=where, detail={})
            batches.change(connection, batch.number, file_removed_at=now)
            folder.finished(batch).unlink(missing_ok=True)
            folder.unfinished(batch).unlink(missing_ok=True)
            ownership.sync_directory(folder.path)
        return True
