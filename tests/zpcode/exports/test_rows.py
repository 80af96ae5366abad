"""What the general layout refuses: rows that could not be read back."""

from __future__ import annotations

import pytest

from tests.support.export_batches import fixed_batch, signatures
from zpcode.exports.base import CodeRow
from zpcode.exports.csv import Csv
from zpcode.exports.rows import ROW_BYTES, RowFile
from zpcode.exports.text import serial_texts
from zpcode.wire import bulk
from zpcode.wire.payload import Level


class _TwoLines(Csv):
    """A format that breaks its promise: a row has two lines."""

    def row(self, code: CodeRow) -> bytes:
        return f"{code.url}\n{code.gtin}\n".encode()


class _NoLine(Csv):
    """A format that breaks its promise: a row does not end."""

    def row(self, code: CodeRow) -> bytes:
        return code.url.encode()


class _Nothing(Csv):
    """A format that breaks its promise: a row is empty."""

    def row(self, code: CodeRow) -> bytes:
        return b"" if code.url else b"\n"


class _LineFeedInMiddle(Csv):
    """A format that breaks its promise: a line feed instead of the end."""

    def row(self, code: CodeRow) -> bytes:
        return f"{code.url}\n{code.gtin}".encode()


class _Long(Csv):
    """A format that breaks its promise: a row of 4097 bytes."""

    def row(self, code: CodeRow) -> bytes:
        return code.url.ljust(ROW_BYTES).encode() + b"\n"


class _NoUrl(Csv):
    """A format that breaks its promise: the URL is not read back."""

    def row(self, code: CodeRow) -> bytes:
        return f"{code.serial},{code.lot}\n".encode()


@pytest.mark.parametrize(
    ("export", "why"),
    [
        (_TwoLines(), r"_TwoLines\.row: a row must end with its only line feed, .*/21/"),
        (_NoLine(), r"_NoLine\.row: a row must end with its only line feed"),
        (_Nothing(), r"_Nothing\.row: a row must end with its only line feed"),
        (_LineFeedInMiddle(), r"_LineFeedInMiddle\.row: a row must end with its only line feed"),
        (_Long(), r"_Long\.row: a row has at most 4096 bytes, but this one has 4097"),
        (_NoUrl(), r"_NoUrl\.url: https://zpm\.example.* is not read back from the row"),
    ],
)
def test_a_format_whose_rows_cannot_be_read_back_is_a_defect(export: Csv, why: str) -> None:
    """Its author reads what is wrong with which row, before the first byte is written."""
    with pytest.raises(ValueError, match=why):
        RowFile(fixed_batch(Level.ITEM), export)


def test_a_line_feed_in_a_later_row_is_a_defect_too() -> None:
    """The row is refused where it is made: it does not come into the file."""

    class Sometimes(Csv):
        def row(self, code: CodeRow) -> bytes:
            return f"{code.url}{chr(10) if code.serial == last else ','}{code.gtin}\n".encode()

    batch, last = fixed_batch(Level.ITEM), ""
    layout, slots = RowFile(batch, Sometimes()), bulk.slots(batch.permutation_key, 0, 3)
    last = serial_texts(batch, slots)[2].tobytes().decode("ascii")
    with pytest.raises(ValueError, match="only line feed"):
        layout.part(slots, signatures(3))
