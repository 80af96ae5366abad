"""The file of one batch in a text format whose rows have one width.

Only the serial and the signature differ between the rows of a batch. So the format lays out one row, and the rows of a
part are copies of it with serials and signatures filled in (NumPy): some ten times as fast as a call for each row.
The offset of a row can be computed, so a single code is read without the rest of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from zpcode.exports.base import CodeRead, Slots
from zpcode.exports.text import TextFormat, code_row, serial_texts
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.base32 import RFC4648
from zpcode.wire.payload import COMPACT_LENGTH, SERIAL_LENGTH, SIGNATURE_LENGTH, Level

_IN_SIGNATURE = np.zeros(256, np.bool_)
_IN_SIGNATURE[np.frombuffer(RFC4648.encode("ascii"), np.uint8)] = True
_SERIAL_LENGTHS: Final = {Level.ITEM: SERIAL_LENGTH, Level.COMPACT: COMPACT_LENGTH}


class CodeTable:
    """A `FileLayout`. `width` is the bytes of a row.

    All rows of a batch must have the same width. The serial, and the signature inside the URL, must appear in the row
    character by character, or not at all; everything else must not depend on them. Raises ValueError where the format
    does not do so.
    """

    exact = True

    def __init__(self, batch: Batch, text: TextFormat) -> None:
        self._batch, self._text = batch, text
        self._codes, self.header = batch.codes, text.header
        template = _sample(batch, text)
        self._row = np.frombuffer(template, np.uint8)
        self._signatures = _varying(template, _sample(batch, text, signature="B"), SIGNATURE_LENGTH)
        self._serials = _varying(template, _sample(batch, text, serial="1"), _SERIAL_LENGTHS.get(batch.level, 0))
        self.width = self.code_bytes = len(template)
        self.size = self.at(self._codes) + len(text.footer)

    def part(self, slots: Slots, signatures: bytes) -> memoryview:
        """The rows of codes."""
        rows = self._unsigned(slots)
        if self._signatures:
            texts = bulk.seals(signatures)
            for part in self._signatures:
                rows[:, part] = texts
        return rows.data.cast("B")

    def part_at(self, file: BinaryIO, first: int, count: int) -> bytes | None:
        """The rows from index `first` on, None where they are not what `part` writes."""
        block = file.read(count * self.width)
        return block if len(block) == count * self.width and self.matches(block, first).all() else None

    def footer(self) -> bytes:
        """The footer of the format."""
        return self._text.footer

    def codes_in(self, size: int) -> int:
        """The whole rows in `size` bytes."""
        return max(0, min(self._codes, (size - self.at(0)) // self.width))

    def codes(self, file: BinaryIO, spans: Iterable[range]) -> Iterator[CodeRead]:
        """The rows in `spans`. Only these are read."""
        breaks = int(np.count_nonzero(self._row == ord("\n")))
        first_line = 1 + self.header.count(b"\n")
        for span in spans:
            file.seek(self.at(span.start))
            block = file.read(len(span) * self.width)
            block = block[: len(block) // self.width * self.width]
            for at, intact in enumerate(self.matches(block, span.start)):
                index, row = span.start + at, block[at * self.width : (at + 1) * self.width]
                yield CodeRead(index, str(first_line + index * breaks), self._url(row), bool(intact), row)

    def at(self, index: int) -> int:
        """The offset of an index's row in the file, in bytes."""
        return len(self.header) + index * self.width

    def matches(self, block: bytes, first: int) -> npt.NDArray[np.bool_]:
        """For each row of a block read back from a file, from index `first` on: whether it is the row of its index.

        All bytes but the signatures are compared. Of a signature only the alphabet is checked, which is enough to
        detect what a crash leaves: zeros, or the end of another row.
        """
        read = np.frombuffer(block, np.uint8).reshape(-1, self.width)
        matching = np.ones(len(read), np.bool_)
        if not len(read):
            return matching
        count = len(read) if self._batch.level.is_item else 0
        expected = self._unsigned(bulk.slots(self._batch.permutation_key, first, count))
        for part in self._signatures:
            expected[:, part] = read[:, part]
            matching &= _IN_SIGNATURE[read[:, part]].all(axis=1)
        matching &= (read == expected).all(axis=1)
        return matching

    def _unsigned(self, slots: Slots) -> npt.NDArray[np.uint8]:
        """The rows with the signature of the template."""
        if not self._batch.level.is_item:
            return self._row.reshape(1, -1).copy()
        rows = np.tile(self._row, (len(slots), 1))
        serials = serial_texts(self._batch, slots)
        for part in self._serials:
            rows[:, part] = serials
        return rows

    def _url(self, row: bytes) -> str | None:
        try:
            return self._text.url(row)
        except ValueError:
            return None


def _sample(batch: Batch, text: TextFormat, *, signature: str = "A", serial: str = "0") -> bytes:
    """A row of the batch whose serial and signature repeat one character each."""
    code = code_row(batch, serial * _SERIAL_LENGTHS.get(batch.level, 0), signature * SIGNATURE_LENGTH)
    return text.row(code)


def _varying(one: bytes, other: bytes, length: int) -> tuple[slice, ...]:
    """Where two sample rows differ: the places, `length` bytes each, that one field takes."""
    if len(one) != len(other):
        raise ValueError(f"rows of one batch have {len(one)} and {len(other)} bytes")
    differing = [at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
    starts = differing[::length] if length else differing
    if differing != [at for start in starts for at in range(start, start + length)]:
        raise ValueError("a serial or a signature is not in the row character by character")
    return tuple(slice(start, start + length) for start in starts)
