"""Codes as CSV for packaging lines: RFC 4180, CRLF, ASCII, no byte order mark, one header row.

    url,gtin,lot,serial,production_date,expiry_date

Every row of a file has the same width, so that row N stands at a place that can be computed: that is what
makes a file resumable. No cell can begin with one of the characters that a spreadsheet takes for a
formula: addresses begin with `h`, the rest with a digit or a letter.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.base32 import RFC4648
from zpcode.wire.calendar import iso
from zpcode.wire.payload import COMPACT_LENGTH, KEY_ID_LENGTH, SERIAL_LENGTH, SIGNATURE_LENGTH, Level

COLUMNS: Final = ("url", "gtin", "lot", "serial", "production_date", "expiry_date")
HEADER: Final = (",".join(COLUMNS) + "\r\n").encode("ascii")
_IN_SEAL = np.zeros(256, np.bool_)
_IN_SEAL[np.frombuffer(RFC4648.encode("ascii"), np.uint8)] = True

Rows = npt.NDArray[np.uint8]


class CodeTable:
    """The rows of one batch's file. `width` is the bytes of a row, `size` those of the whole file.

    A sealed batch must have its signing key: the key id is part of every row.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.codes = batch.codes
        text, self._seal, self._serials = _template(batch)
        self._row = np.frombuffer(text.encode("ascii"), np.uint8)
        self.width = len(self._row)
        self.size = len(HEADER) + self.codes * self.width

    def at(self, index: int) -> int:
        """Where in the file the row of an index begins, in bytes."""
        return len(HEADER) + index * self.width

    def slots(self, first: int, count: int) -> npt.NDArray[np.uint64]:
        """The printed slots of `count` items from index `first` on: what the signer is asked to sign."""
        return bulk.slots(self.batch.permutation_key, first, count)

    def rows(self, slots: npt.NDArray[np.uint64], signatures: bytes) -> Rows:
        """The rows of item codes: one for each slot, with 64 bytes of signature for each where they are sealed."""
        rows = self._unsealed(slots)
        if self.batch.sealed:
            rows[:, self._seal] = bulk.seals(signatures)
        return rows

    def only_row(self, signature: bytes) -> Rows:
        """The one row of a product or lot code."""
        rows = self._row.reshape(1, -1).copy()
        rows[:, self._seal] = bulk.seals(signature)
        return rows

    def agreeing(self, block: bytes, first: int) -> bool:
        """Whether bytes read back from a file are the rows from index `first` on.

        Everything but the signatures is compared with what belongs there; in their place only their
        alphabet can be checked, which is enough to find what a crash leaves: zeros or another row's end.
        """
        found = np.frombuffer(block, np.uint8).reshape(-1, self.width)
        expected = (
            self._unsealed(self.slots(first, len(found)))
            if self.batch.level.is_item
            else self._row.reshape(1, -1).copy()
        )
        if self.batch.sealed:
            expected[:, self._seal] = found[:, self._seal]
            if not _IN_SEAL[found[:, self._seal]].all():
                return False
        return bool(np.array_equal(found, expected))

    def _unsealed(self, slots: npt.NDArray[np.uint64]) -> Rows:
        rows = np.tile(self._row, (len(slots), 1))
        serials = bulk.serials(self.batch.number, slots)
        if not self.batch.sealed:
            serials = np.hstack([serials, bulk.checks(self.batch.check_key, self.batch.gtin, serials)])
        for place in self._serials:
            rows[:, place] = serials
        return rows


def _template(batch: Batch) -> tuple[str, slice, tuple[slice, ...]]:
    """A row with `.` where seal and serials go, and where that is."""
    length = {Level.ITEM: SERIAL_LENGTH, Level.COMPACT: COMPACT_LENGTH}.get(batch.level, 0)
    blank = "." * length
    seal = f"/{batch.key_id}{'.' * SIGNATURE_LENGTH}" if batch.sealed else ""
    qualifier = f"/21/{blank}" if length else f"/10/{batch.lot}" if batch.level is Level.LOT else ""
    url = f"{batch.base}{seal}/01/{batch.gtin}{qualifier}"
    before = f"{url},{batch.gtin},{batch.lot},"
    row = f"{before}{blank},{iso(batch.production_date)},{iso(batch.expiry_date)}\r\n"
    start = len(batch.base) + 1 + KEY_ID_LENGTH
    places = (slice(len(url) - length, len(url)), slice(len(before), len(before) + length)) if length else ()
    return row, slice(start, start + SIGNATURE_LENGTH), places
