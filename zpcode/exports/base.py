"""What a file format for codes must provide.

A file is a header and one row for each code. A format lays out one row at a time as text; `zpcode.exports.table` uses
that row as a template for all rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CodeRow:
    """The fields of one row. `url` is the printed address with the code in it.

    Dates are `YYYY-MM-DD`. A field that the batch does not have is empty: `lot`, either date, and `serial` at product
    and lot level. At compact level `serial` is the serial and its check. All fields are ASCII.
    """

    url: str
    gtin: str
    lot: str
    serial: str
    production_date: str
    expiry_date: str


class Export(Protocol):
    """One file format. It must be pure: the same code always gives the same bytes.

    `name` is what an order asks for, `media_type` what a download is sent as (RFC 9110, 8.3), `suffix` the end of the
    file's name with its dot. `max_codes` is the largest number of codes in one file, None for no limit. `header` comes
    before the first row.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def media_type(self) -> str: ...  # noqa: D102

    @property
    def suffix(self) -> str: ...  # noqa: D102

    @property
    def max_codes(self) -> int | None: ...  # noqa: D102

    @property
    def header(self) -> bytes: ...  # noqa: D102

    def row(self, code: CodeRow) -> bytes:
        """A code's row, line break included.

        All rows of a batch must have the same width. The serial, and the signature inside the URL, must appear in the
        row character by character, or not at all; everything else must not depend on them.
        """
        ...

    def url(self, row: bytes) -> str:
        """The URL in a row as read back from a file. Raises ValueError where the bytes are not a row."""
        ...
