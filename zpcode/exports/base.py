"""What a file format for codes must provide.

A file is a header, parts of codes in the order of their indices, and a footer. `Export` describes a format, `FileLayout`
the file of one batch in it. Issuing, resuming, downloads and fsck use nothing else, so a format decides about every byte.

Text formats have both layouts ready: `zpcode.exports.table.CodeTable` for rows of one width, which is fast, and
`zpcode.exports.rows.RowFile` for rows of any width. Any other format implements `FileLayout`.

A batch's file must be the same to the byte each time it is written: that is how a killed issue continues, and how a lost
file is restored to its recorded SHA-256. So a format that is drawn or compressed (PDF, XLSX, PNG) can be added only with
a renderer whose bytes do not change with the version of a library; `part_at` and `codes` must read the symbols back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

import numpy as np
import numpy.typing as npt

from zpcode.rules.batches.batch import Batch

Slots = npt.NDArray[np.uint64]
PART_BYTES: Final = 32 << 20
"""The bytes of a part: 8192 codes of 4 KiB, 32 codes of 1 MiB. So memory does not grow with the bytes of a code."""


@dataclass(frozen=True, slots=True)
class CodeRow:
    """The fields of one code. `url` is the printed address with the code in it.

    Dates are `YYYY-MM-DD`. A field that the batch does not have is empty: `lot`, either date, and `serial` at product
    and lot level. At compact level `serial` is the serial and its check. All fields are ASCII.
    """

    url: str
    gtin: str
    lot: str
    serial: str
    production_date: str
    expiry_date: str


@dataclass(frozen=True, slots=True)
class CodeRead:
    """One code read back from a file.

    `place` is where it is in the file, such as its line. `url` is None where the bytes are not a code. `intact` says
    whether all bytes of the code but the signature are what the format writes for this index. `raw` is shown in a
    finding when there is no URL.
    """

    index: int
    place: str
    url: str | None
    intact: bool
    raw: bytes


class FileLayout(Protocol):
    """The file of one batch in one format. One object writes, or reads, one file once, from its beginning on.

    `header` comes before the first code. `size` is the bytes of the finished file. Where `exact` is false, `size` is an
    estimate for the check of free disk space. `code_bytes` is the most bytes that one code takes (`codes_a_part`).
    """

    @property
    def header(self) -> bytes: ...  # noqa: D102 - described above

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def exact(self) -> bool: ...  # noqa: D102

    @property
    def code_bytes(self) -> int: ...  # noqa: D102

    def part(self, slots: Slots, signatures: bytes) -> bytes | memoryview:
        """The bytes of the next codes.

        At item and compact level there is one code for each of `slots`, the printed slots in the order of their indices.
        At product and lot level `slots` is empty and there is one code. Sealed levels have 64 bytes of `signatures` for
        each code, compact level none.
        """
        ...

    def part_at(self, file: BinaryIO, first: int, count: int) -> bytes | None:
        """The part with `count` codes from index `first` on, read at the position of the file.

        None where it is incomplete or not what `part` writes; signatures need not verify. After a kill the parts that
        this method returns stay, and the rest is written again. A crash leaves parts cut off, zeros, or old bytes.
        """
        ...

    def footer(self) -> bytes:
        """What comes after the last part. It may depend on all parts that `part` and `part_at` returned before."""
        ...

    def codes_in(self, size: int) -> int:
        """How many codes an unfinished file of `size` bytes has; an estimate where `exact` is false."""
        ...

    def codes(self, file: BinaryIO, spans: Iterable[range]) -> Iterator[CodeRead]:
        """The codes with the indices in `spans`, in ascending order. Codes that are missing at the end are left out."""
        ...


def codes_a_part(code_bytes: int, most: int) -> int:
    """How many codes of `code_bytes` each a part has: at most `most`, at most `PART_BYTES` of them, at least one."""
    return max(1, min(most, PART_BYTES // code_bytes))


class Export(Protocol):
    """One file format.

    `name` is what an order asks for, `media_type` what a download is sent as (RFC 9110, 8.3), `suffix` the end of the
    file's name with its dot. `max_codes` is the largest number of codes in one file, None for no limit.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - described above

    @property
    def media_type(self) -> str: ...  # noqa: D102

    @property
    def suffix(self) -> str: ...  # noqa: D102

    @property
    def max_codes(self) -> int | None: ...  # noqa: D102

    def layout(self, batch: Batch) -> FileLayout:
        """The file of a batch. A sealed batch must have its signing key: the key id is part of every URL."""
        ...

    def example(self, code: CodeRow) -> str:
        """A file with this one code, as the API's description shows it; empty for a format that is not text."""
        ...
