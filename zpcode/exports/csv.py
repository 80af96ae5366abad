"""Codes as CSV for packaging lines: RFC 4180, CRLF, ASCII, no byte order mark, one header row.

    url,gtin,lot,serial,production_date,expiry_date

No cell needs quotes, and no cell begins with a character that a spreadsheet takes for a formula: a URL begins with `h`,
every other cell with a digit or a letter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from typing import Final

from zpcode.exports.base import CodeRow
from zpcode.exports.table import CodeTable
from zpcode.exports.text import text_example
from zpcode.rules.batches.batch import Batch

COLUMNS: Final = tuple(field.name for field in fields(CodeRow))


def _line(cells: Iterable[str]) -> bytes:
    return (",".join(cells) + "\r\n").encode("ascii")


class Csv:
    """The format `csv`."""

    name: Final = "csv"
    media_type: Final = "text/csv; charset=us-ascii"
    suffix: Final = ".csv"
    max_codes: Final = None
    header: Final = _line(COLUMNS)
    footer: Final = b""

    def layout(self, batch: Batch) -> CodeTable:
        """Rows of one width."""
        return CodeTable(batch, self)

    def example(self, code: CodeRow) -> str:
        """The header and one row."""
        return text_example(self, code)

    def row(self, code: CodeRow) -> bytes:
        """The fields in the order of `COLUMNS`."""
        return _line(astuple(code))

    def url(self, row: bytes) -> str:
        """The first cell."""
        return row.partition(b",")[0].decode("ascii")
