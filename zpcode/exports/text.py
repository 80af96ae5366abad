"""What a text format provides, and the fields of a batch's codes for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from zpcode.exports.base import CodeRow, Slots
from zpcode.rules.batches.batch import Batch
from zpcode.wire import bulk
from zpcode.wire.calendar import iso
from zpcode.wire.payload import Level


class TextFormat(Protocol):
    """A header, one row for each code, and a footer. It must be pure: the same code always gives the same bytes."""

    @property
    def header(self) -> bytes: ...  # noqa: D102 - described above

    @property
    def footer(self) -> bytes: ...  # noqa: D102

    def row(self, code: CodeRow) -> bytes:
        """A code's row, line break included. The layout says what else it requires."""
        ...

    def url(self, row: bytes) -> str:
        """The URL in a row as read back from a file. Raises ValueError where the bytes are not a row."""
        ...


def text_example(text: TextFormat, code: CodeRow) -> str:
    """`Export.example` of a text format."""
    return (text.header + text.row(code) + text.footer).decode("utf-8")


def code_row(batch: Batch, serial: str, signature: str) -> CodeRow:
    """The fields of one code of a batch. `serial` is empty at product and lot level, `signature` at compact level."""
    seal = f"/{batch.key_id}{signature}" if batch.sealed else ""
    qualifier = f"/21/{serial}" if serial else f"/10/{batch.lot}" if batch.level is Level.LOT else ""
    url = f"{batch.base}{seal}/01/{batch.gtin}{qualifier}"
    return CodeRow(url, batch.gtin, batch.lot, serial, iso(batch.production_date), iso(batch.expiry_date))


def code_rows(batch: Batch, slots: Slots, signatures: bytes) -> Iterator[CodeRow]:
    """The fields of the codes of one part (`FileLayout.part`)."""
    serials = _lines(serial_texts(batch, slots)) if batch.level.is_item else [""]
    seals = _lines(bulk.seals(signatures)) if batch.sealed else [""] * len(serials)
    return (code_row(batch, serial, seal) for serial, seal in zip(serials, seals, strict=True))


def serial_texts(batch: Batch, slots: Slots) -> bulk.Bytes2D:
    """The printed serial of each slot, one row of ASCII bytes; at compact level with its check."""
    serials = bulk.serials(batch.number, slots)
    return serials if batch.sealed else np.hstack([serials, bulk.checks(batch.check_key, batch.gtin, serials)])


def _lines(texts: bulk.Bytes2D) -> list[str]:
    width = texts.shape[1]
    text = texts.tobytes().decode("ascii")
    return [text[at : at + width] for at in range(0, len(text), width)]
