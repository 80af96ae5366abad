"""A batch of codes: the request for a batch, and the record of a batch.

A batch is one row, whatever its size. Its codes are not stored: exports and scans compute them from the row
(`zpcode.wire`).
"""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from zpcode.errors import Text
from zpcode.rules.record_digest import digest
from zpcode.wire.payload import Identity, Level, check_matches
from zpcode.wire.permutation import Permutation

MAX_QUANTITY: Final = 10**9
DEFAULT_FORMAT: Final = "csv"


class BatchState(enum.StrEnum):
    """The state of a batch. A reserved batch has its number and keys, and waits for its file."""

    RESERVED = "reserved"
    ISSUED = "issued"


class Activation(enum.StrEnum):
    """When a batch becomes active: as soon as its file is complete, or when the enterprise activates it."""

    ON_ISSUE = "on_issue"
    MANUAL = "manual"


_RESERVED: Final = (
    "number", "uscc", "gtin", "level", "quantity", "lot", "production_date", "expiry_date", "format", "base", "activation",
    "created_by", "created_at",
)  # fmt: skip
"""The columns, besides the secret keys, that never change after the reservation."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request for a batch. `quantity` is 1 … 10⁹ item codes, `format` the name of an export (`zpcode.exports.formats`).

    At product and lot level all items have the same code: the file has one code, and the quantity is the number of
    labels to print. `lot` is AI 10 and required at lot level.
    """

    level: Level
    gtin: str
    quantity: int
    lot: str = ""
    production_date: date | None = None
    expiry_date: date | None = None
    format: str = DEFAULT_FORMAT
    activation: Activation = Activation.ON_ISSUE

    @property
    def codes(self) -> int:
        """The number of codes in the file: one at product and lot level."""
        return self.quantity if self.level.is_item else 1

    @property
    def digest(self) -> bytes:
        """SHA-256 over all fields: two requests have the same digest if and only if they are equal."""
        dates = [value and value.isoformat() for value in (self.production_date, self.expiry_date)]
        fields = [self.level, self.gtin, self.quantity, self.lot, *dates, self.format, self.activation]
        return hashlib.sha256(json.dumps(fields).encode("ascii", "backslashreplace")).digest()


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch. `number` is 1 … 2²⁶-1 and never used twice.

    `key_id` names the signing key; it is empty before the file is started, and always at compact level. `sha256` (hex)
    and `bytes` are those of the finished file. `signatures_sha256` (hex) is that of the kept signatures, empty where none are
    kept. `file_removed_at` says since when the file has been removed, `file_requested_at` when it was last requested to be
    written again. `problem` says why a file that is to be written is not. The two keys are secret: they determine which
    serials exist.
    """

    number: int
    uscc: str
    region: str
    gtin: str
    level: Level
    quantity: int
    lot: str
    production_date: date | None
    expiry_date: date | None
    format: str
    base: str
    activation: Activation
    created_by: str
    created_at: datetime
    permutation_key: bytes = field(repr=False)
    check_key: bytes = field(repr=False)
    key_id: str = ""
    state: BatchState = BatchState.RESERVED
    sha256: str = ""
    bytes: int = 0
    issued_at: datetime | None = None
    activated_at: datetime | None = None
    problem: Text | None = None
    signatures_sha256: str = ""
    file_removed_at: datetime | None = None
    file_requested_at: datetime | None = None

    @property
    def awaits_file(self) -> bool:
        """Whether its file was removed and has been requested since."""
        removed, requested = self.file_removed_at, self.file_requested_at
        return removed is not None and requested is not None and requested >= removed

    @property
    def codes(self) -> int:
        """The number of codes in its file: one at product and lot level."""
        return self.quantity if self.level.is_item else 1

    @property
    def sealed(self) -> bool:
        """Whether its codes have a seal, so that the signer is needed."""
        return self.level is not Level.COMPACT

    def index_of(self, item: Identity) -> int | None:
        """The index of an item; None if the batch has no such item. A check, if there is one, must be right."""
        serial = item.serial
        if serial is None or (serial.batch, item.gtin) != (self.number, self.gtin):
            return None
        if item.check is not None and (self.sealed or not check_matches(self.check_key, item)):
            return None
        index = Permutation(self.permutation_key).index(serial.slot)
        return index if index < self.quantity else None


def record_name(number: int) -> str:
    """The name of a batch's record in the audit log."""
    return f"batch:{number}"


def record_digest(batch: Batch) -> str:
    """The digest of what a batch is from its reservation on, for the audit log: the other columns have separate entries.

    The two secret keys (128 random bits) cannot be guessed from it.
    """
    fields: dict[str, Any] = {name: getattr(batch, name) for name in _RESERVED}
    fields |= {name: fields[name] and fields[name].isoformat() for name in ("production_date", "expiry_date")}
    return digest("batch", fields | {name: getattr(batch, name).hex() for name in ("permutation_key", "check_key")})
