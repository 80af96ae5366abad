"""The rows of one batch's file in one format: written in chunks, found by index, compared with bytes read back.

Only the serial and the signature differ between the rows of a batch. So the format lays out one row, and the rows of a
chunk are copies of it with serials and signatures filled in (NumPy): some six times as fast as a call for each row.
Every row has the same width, so the offset of a row can be computed: that is what makes a file resumable.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from zpcode.exports.base import CodeRow, Export
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.base32 import RFC4648
from zpcode.wire.calendar import iso
from zpcode.wire.payload import COMPACT_LENGTH, SERIAL_LENGTH, SIGNATURE_LENGTH, Level

_IN_SIGNATURE = np.zeros(256, np.bool_)
_IN_SIGNATURE[np.frombuffer(RFC4648.encode("ascii"), np.uint8)] = True
_SERIAL_LENGTHS: Final = {Level.ITEM: SERIAL_LENGTH, Level.COMPACT: COMPACT_LENGTH}

Rows = npt.NDArray[np.uint8]


class CodeTable:
    """The file of one batch. `width` is the bytes of a row, `size` those of the whole file.

    A sealed batch must have its signing key: the key id is part of every URL. Raises ValueError where the format does
    not keep the promises of `Export.row`.
    """

    def __init__(self, batch: Batch, export: Export) -> None:
        self.batch, self.export = batch, export
        self.codes, self.header = batch.codes, export.header
        template = _sample(batch, export)
        self._row = np.frombuffer(template, np.uint8)
        self._signatures = _varying(template, _sample(batch, export, signature="B"), SIGNATURE_LENGTH)
        self._serials = _varying(template, _sample(batch, export, serial="1"), _SERIAL_LENGTHS.get(batch.level, 0))
        self.width = len(template)
        self.size = len(self.header) + self.codes * self.width

    def at(self, index: int) -> int:
        """The offset of an index's row in the file, in bytes."""
        return len(self.header) + index * self.width

    def line(self, index: int) -> int:
        """The number of the line in which an index's row begins, from 1."""
        breaks = np.count_nonzero(self._row == ord("\n"))
        return 1 + self.header.count(b"\n") + index * int(breaks)

    def slots(self, first: int, count: int) -> npt.NDArray[np.uint64]:
        """The printed slots of `count` items from index `first` on: what the signer is asked to sign."""
        return bulk.slots(self.batch.permutation_key, first, count)

    def rows(self, slots: npt.NDArray[np.uint64], signatures: bytes) -> Rows:
        """The rows of item codes, one for each slot; `signatures` has 64 bytes for each where they are sealed."""
        return self._signed(self._unsigned(slots), signatures)

    def only_row(self, signature: bytes) -> Rows:
        """The one row of a product or lot code."""
        return self._signed(self._row.reshape(1, -1).copy(), signature)

    def matches(self, block: bytes, first: int) -> npt.NDArray[np.bool_]:
        """For each row of a block read back from a file, from index `first` on: whether it is the row of its index.

        All bytes but the signatures are compared. Of a signature only the alphabet is checked, which is enough to
        detect what a crash leaves: zeros, or the end of another row.
        """
        read = np.frombuffer(block, np.uint8).reshape(-1, self.width)
        items = self.batch.level.is_item
        expected = self._unsigned(self.slots(first, len(read))) if items else self._row.reshape(1, -1).copy()
        matching = np.ones(len(read), np.bool_)
        for part in self._signatures:
            expected[:, part] = read[:, part]
            matching &= _IN_SIGNATURE[read[:, part]].all(axis=1)
        matching &= (read == expected).all(axis=1)
        return matching

    def urls(self, block: bytes) -> list[str]:
        """The printed URLs in a block read back from a file; an incomplete row at its end is left out."""
        end = len(block) // self.width * self.width
        return [self.export.url(block[at : at + self.width]) for at in range(0, end, self.width)]

    def _signed(self, rows: Rows, signatures: bytes) -> Rows:
        if self._signatures:
            texts = bulk.seals(signatures)
            for part in self._signatures:
                rows[:, part] = texts
        return rows

    def _unsigned(self, slots: npt.NDArray[np.uint64]) -> Rows:
        rows = np.tile(self._row, (len(slots), 1))
        serials = bulk.serials(self.batch.number, slots)
        if not self.batch.sealed:
            serials = np.hstack([serials, bulk.checks(self.batch.check_key, self.batch.gtin, serials)])
        for part in self._serials:
            rows[:, part] = serials
        return rows


def _sample(batch: Batch, export: Export, *, signature: str = "A", serial: str = "0") -> bytes:
    """A row of the batch whose serial and signature repeat one character each."""
    serial *= _SERIAL_LENGTHS.get(batch.level, 0)
    seal = f"/{batch.key_id}{signature * SIGNATURE_LENGTH}" if batch.sealed else ""
    qualifier = f"/21/{serial}" if serial else f"/10/{batch.lot}" if batch.level is Level.LOT else ""
    url = f"{batch.base}{seal}/01/{batch.gtin}{qualifier}"
    return export.row(CodeRow(url, batch.gtin, batch.lot, serial, iso(batch.production_date), iso(batch.expiry_date)))


def _varying(one: bytes, other: bytes, length: int) -> tuple[slice, ...]:
    """Where two sample rows differ: the places, `length` bytes each, that one field takes."""
    if len(one) != len(other):
        raise ValueError(f"rows of one batch have {len(one)} and {len(other)} bytes")
    differing = [at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
    starts = differing[::length] if length else differing
    if differing != [at for start in starts for at in range(start, start + length)]:
        raise ValueError("a serial or a signature is not in the row character by character")
    return tuple(slice(start, start + length) for start in starts)
