"""The file of one batch in a text format whose rows may differ in width: one call of the format for each row.

It takes some ten times as long as `zpcode.exports.table` (about 15 µs a row), and fsck reads the whole file to find its samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final

from zpcode.errors import MalformedCode
from zpcode.exports.base import CodeRead, CodeRow, Slots
from zpcode.exports.text import TextFormat, code_rows
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import SIGNATURE_BYTES

ROW_BYTES: Final = 4096
_NO_SIGNATURE = bytes(SIGNATURE_BYTES)


class RowFile:
    """A `FileLayout`. Each row must end with its only line feed, contain the whole URL, and have at most `ROW_BYTES`.

    Rows are read back by their line feeds and signatures from the URL. Raises ValueError where the format does not do so.
    """

    exact = False
    code_bytes = ROW_BYTES

    def __init__(self, batch: Batch, text: TextFormat) -> None:
        self._batch, self._text = batch, text
        self._codes, self.header = batch.codes, text.header
        self._width = len(self._sample())
        self.size = len(self.header) + self._codes * self._width + len(text.footer)

    def part(self, slots: Slots, signatures: bytes) -> bytes:
        """The rows of codes."""
        return b"".join(self._rows(slots, signatures))

    def part_at(self, file: BinaryIO, first: int, count: int) -> bytes | None:
        """The rows from index `first` on, None where they are not what `part` writes."""
        rows = list(itertools.islice(file, count))
        return b"".join(rows) if len(rows) == count and all(self._intact(rows, first)) else None

    def footer(self) -> bytes:
        """The footer of the format."""
        return self._text.footer

    def codes_in(self, size: int) -> int:
        """Estimated from the width of the first row."""
        return max(0, min(self._codes, (size - len(self.header)) // self._width))

    def codes(self, file: BinaryIO, spans: Iterable[range]) -> Iterator[CodeRead]:
        """The rows in `spans`; the rows between them are skipped."""
        file.seek(len(self.header))
        first_line, at = 1 + self.header.count(b"\n"), 0
        for span in spans:
            rows = list(itertools.islice(file, span.start - at, span.stop - at))
            at = span.stop
            for index, row, intact in zip(span, rows, self._intact(rows, span.start), strict=False):
                yield CodeRead(index, str(first_line + index), self._url(row), intact, row)

    def _sample(self) -> bytes:
        """The first row, unsigned."""
        (code,) = code_rows(self._batch, self._slots(0, 1), _NO_SIGNATURE)
        row = self._row(code)
        if self._url(row) != code.url:
            raise ValueError(f"{type(self._text).__name__}.url: {code.url} is not read back from the row {row[:200]!r}")
        return row

    def _slots(self, first: int, count: int) -> Slots:
        return bulk.slots(self._batch.permutation_key, first, count if self._batch.level.is_item else 0)

    def _rows(self, slots: Slots, signatures: bytes) -> list[bytes]:
        return [self._row(code) for code in code_rows(self._batch, slots, signatures)]

    def _row(self, code: CodeRow) -> bytes:
        row, name = self._text.row(code), type(self._text).__name__
        if row.count(b"\n") != 1 or not row.endswith(b"\n"):
            raise ValueError(f"{name}.row: a row must end with its only line feed, but this one is {row[:200]!r}")
        if len(row) > ROW_BYTES:
            raise ValueError(
                f"{name}.row: a row has at most {ROW_BYTES} bytes, but this one has {len(row)}: {row[:200]!r}"
            )
        return row

    def _intact(self, rows: Sequence[bytes], first: int) -> list[bool]:
        """For each row whether it is the row of its index with the signature that it has."""
        if not rows:
            return []
        signatures = b"".join(map(self._signature, rows))
        expected = self._rows(self._slots(first, len(rows)), signatures)
        return [row == one for row, one in zip(rows, expected, strict=True)]

    def _signature(self, row: bytes) -> bytes:
        try:
            seal = parse(path_of(self._text.url(row))).seal
        except (MalformedCode, ValueError):
            return _NO_SIGNATURE
        return _NO_SIGNATURE if seal is None else seal.signature

    def _url(self, row: bytes) -> str | None:
        try:
            return self._text.url(row)
        except ValueError:
            return None
