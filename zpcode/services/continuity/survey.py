"""What Redis and the folder of code files have that a restored database lacks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BufferedReader
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from keys.keyring import Keyring
from zpcode.errors import ForeignFile
from zpcode.exports.formats import EXPORTS, layout_of
from zpcode.projection import copies
from zpcode.projection.client import Layout
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.rules.continuity import DatabaseMarks
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.encrypted_file import DamagedFile
from zpcode.services.batches.unfinished_file import CodeFile
from zpcode.services.fsck.files import CONTENTS, CodeCheck
from zpcode.services.fsck.report import CheckResult
from zpcode.store import cards as card_table
from zpcode.store.database.session import Connection
from zpcode.wire import redis_keys
from zpcode.wire.card import BatchCard, is_card
from zpcode.wire.payload import Level

_SLICE: Final = 2000
_BLOCK: Final = 1024
_HEAD_BYTES: Final = 4096
_BASE: Final = re.compile(rb"(https?://[a-z0-9.-]+(?::[0-9]{1,5})?)/")


class NewerCopy(NamedTuple):
    """A card in Redis that the database has lost: its revision and its body."""

    revision: int
    body: bytes


def newer_copies(
    connection: Connection, layout: Layout, database: DatabaseMarks, *, forked: bool
) -> dict[str, NewerCopy]:
    """The cards of Redis that are newer than the database, by card key. Raises RedisError.

    `forked`: the restored database was written to before it was stopped. Then its revisions are no measure, and every
    copy counts that is newer than its own row.
    """
    newer: dict[str, NewerCopy] = {}
    listed = copies.keys(layout)
    while keys := list(islice(listed, _SLICE)):
        rows = {card.key: card for card in card_table.fetch(connection, keys)}
        for key, copy in zip(keys, copies.read(layout, keys), strict=True):
            if not copy:
                continue
            revision, body = redis_keys.unpack(copy)
            row = rows.get(key)
            above = 0 if forked and row is None else row.revision if forked and row is not None else database.assigned.revision  # fmt: skip
            if revision > above and (row is None or row.body != body) and is_card(key, body):
                newer[key] = NewerCopy(revision, body)
    return newer


def decode_batch(body: bytes) -> BatchCard | None:
    """A batch card; None where the bytes are none."""
    try:
        return msgspec.msgpack.decode(body, type=BatchCard)
    except (msgspec.MsgspecError, ValueError):
        return None


def batch_of(card: BatchCard, *, uscc: str, region: str, actor: str, base: str, now: datetime) -> Batch:
    """The record of a batch as its card proves it, reserved. Who ordered it and when is not on the card."""
    return Batch(
        number=card.number,
        uscc=uscc,
        region=region,
        gtin=card.gtin,
        level=Level(card.level),
        quantity=card.quantity,
        lot=card.lot,
        production_date=_date(card.production_date),
        expiry_date=_date(card.expiry_date),
        format=next(iter(EXPORTS)),
        base=base,
        activation=Activation.MANUAL,
        created_by=actor,
        created_at=now,
        permutation_key=card.permutation_key,
        check_key=card.check_key,
        key_id=card.key_id,
    )


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def issued(batch: Batch, file: CodeFile, card: BatchCard, now: datetime) -> Batch:
    """The record of a batch whose file proves that it was issued."""
    activated = datetime.fromtimestamp(card.activated_at, UTC) if card.activated_at else None
    return replace(
        batch,
        state=BatchState.ISSUED,
        sha256=file.sha256,
        bytes=file.bytes,
        issued_at=activated or now,
        activated_at=activated,
    )


class ProvenFile(NamedTuple):
    """A code file that has exactly the codes of a batch, and the batch with the format and base address of the file."""

    batch: Batch
    file: CodeFile


def prove(batch: Batch, exports: CodeFolder, keyring: Callable[[], Keyring]) -> ProvenFile | None:
    """The finished file of a batch if every code in it is the batch's; None where there is none, or another one.

    Raises Unavailable if the key that the file is encrypted with is missing.
    """
    for name in EXPORTS:
        candidate = replace(batch, format=name)
        with suppress(FileNotFoundError, ForeignFile, DamagedFile), exports.open(candidate) as file:
            base = _BASE.search(file.read(_HEAD_BYTES))
            if base is None:
                continue
            candidate = replace(candidate, base=base[1].decode("ascii"))
            file.seek(0)
            if _has_exactly(candidate, file, keyring()):
                return ProvenFile(candidate, _digested(file))
    return None


def _has_exactly(batch: Batch, file: BufferedReader, keyring: Keyring) -> bool:
    """Whether a file has all codes of a batch, in order, and nothing else that the format would not write."""
    layout, outcome = layout_of(batch), CheckResult(CONTENTS)
    if batch.sealed and keyring.get(batch.key_id) is None:
        return False
    if file.read(len(layout.header)) != layout.header:
        return False
    check = CodeCheck(batch, f"batch-{batch.number}", keyring, outcome)
    for code in layout.codes(file, _spans(batch)):
        check.code(code)
        if outcome.wrong:
            return False
    return outcome.examined == batch.codes and (not layout.exact or file.seek(0, os.SEEK_END) == layout.size)


def _spans(batch: Batch) -> Iterator[range]:
    return (range(first, min(first + _BLOCK, batch.codes)) for first in range(0, batch.codes, _BLOCK))


def _digested(file: BufferedReader) -> CodeFile:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CodeFile(digest, file.seek(0, os.SEEK_END))


def kinds(newer: Mapping[str, NewerCopy], kind: str) -> list[str]:
    """The keys of one kind (`p`, `b`, `l`, `s`, `x`), in order."""
    return sorted(key for key in newer if key.startswith(f"{kind}:"))
