"""A batch at each level with fixed keys, and the file that a format writes for it."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime

from zpcode.exports.base import FileLayout
from zpcode.rules.batches.batch import Activation, Batch
from zpcode.wire import bulk
from zpcode.wire.payload import SIGNATURE_BYTES, Level

CODES = 1000
FIRST_PART = 600


def fixed_batch(level: Level, file_format: str = "csv") -> Batch:
    """A batch of this level: every field is fixed, so its file is the same in every run."""
    return Batch(
        number=4711,
        uscc="91330106MA2XXXXX0A",
        region="330106",
        gtin="09501101530003",
        level=level,
        quantity=CODES,
        lot="" if level is Level.PRODUCT else "L2026.11-21",
        production_date=date(2026, 11, 20),
        expiry_date=None if level is Level.COMPACT else date(2028, 11, 20),
        format=file_format,
        base="https://zpm.example",
        activation=Activation.ON_ISSUE,
        created_by="test",
        created_at=datetime(2026, 11, 21, 4, 0, tzinfo=UTC),
        permutation_key=bytes(range(16)),
        check_key=bytes(range(16, 32)),
        key_id="" if level is Level.COMPACT else "K7QF",
    )


def signatures(count: int) -> bytes:
    """64 bytes for each code. They do not verify: a format does not look at them."""
    return b"".join(hashlib.sha512(number.to_bytes(2, "big")).digest() for number in range(count))


def written(layout: FileLayout, level: Level) -> bytes:
    """The whole file of the fixed batch of this level, in two parts where it has more than one code."""
    batch = fixed_batch(level)
    if not level.is_item:
        parts = [bytes(layout.part(bulk.slots(batch.permutation_key, 0, 0), signatures(1)))]
    else:
        slots, sealed = bulk.slots(batch.permutation_key, 0, CODES), signatures(CODES)
        parts = [
            bytes(layout.part(slots[:FIRST_PART], sealed[: FIRST_PART * SIGNATURE_BYTES])),
            bytes(layout.part(slots[FIRST_PART:], sealed[FIRST_PART * SIGNATURE_BYTES :])),
        ]
    return layout.header + b"".join(parts) + layout.footer()
