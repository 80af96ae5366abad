"""The promises of every registered format. A new format is tested here automatically."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.support.export_batches import CODES, fixed_batch, signatures, written
from zpcode.errors import Unavailable
from zpcode.exports.base import CodeRow, Export
from zpcode.exports.csv import Csv
from zpcode.exports.formats import EXPORTS, export_of, file_name, table_of
from zpcode.exports.table import CodeTable
from zpcode.rules.batches.batch import DEFAULT_FORMAT
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Level
from zpcode.wire.permutation import Permutation

every_format = pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
every_level = pytest.mark.parametrize("level", Level)


@every_format
def test_a_format_is_registered_under_its_name(export: Export) -> None:
    """The name goes into orders and the suffix into file names: both are plain."""
    assert EXPORTS[export.name] is export
    assert re.fullmatch(r"[a-z0-9-]{1,20}", export.name)
    assert re.fullmatch(r"(\.[a-z0-9]{1,10})+", export.suffix)
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+(; charset=[a-z0-9-]+)?", export.media_type)
    assert export.max_codes is None or export.max_codes > 0


def test_the_default_format_exists() -> None:
    assert DEFAULT_FORMAT in EXPORTS


@every_format
@every_level
def test_each_row_is_what_the_format_lays_out_for_its_code(export: Export, level: Level) -> None:
    """Many rows are filled into a template at once; the result equals one call for each code."""
    batch, data = fixed_batch(level, export.name), written(export, level)
    table = table_of(batch)
    assert len(data) == table.size
    assert data.startswith(export.header)
    permutation, made = Permutation(batch.permutation_key), str(batch.production_date)
    for index in {0, table.codes // 2, table.codes - 1}:
        row = data[table.at(index) : table.at(index + 1)]
        url = export.url(row)
        identity = parse(path_of(url)).identity
        if identity.serial is not None:
            assert permutation.index(identity.serial.slot) == index
        serial = url.rpartition("/21/")[2] if level.is_item else ""
        expires = "" if batch.expiry_date is None else str(batch.expiry_date)
        assert row == export.row(CodeRow(url, batch.gtin, batch.lot, serial, made, expires))


@every_format
@every_level
def test_rows_read_back_are_compared_one_by_one(export: Export, level: Level) -> None:
    """A changed byte is noticed in its row and in no other."""
    table, data = table_of(fixed_batch(level, export.name)), bytearray(written(export, level))
    assert table.matches(bytes(data[table.at(0) :]), 0).all()
    middle = table.codes // 2
    data[table.at(middle) + table.width - 2] ^= 0x20
    assert np.flatnonzero(~table.matches(bytes(data[table.at(0) :]), 0)).tolist() == [middle]


@every_format
def test_urls_are_read_from_whole_rows(export: Export) -> None:
    table, data = table_of(fixed_batch(Level.ITEM, export.name)), written(export, Level.ITEM)
    urls = table.urls(data[table.at(0) : table.at(3) + 5])
    assert len(urls) == 3
    assert urls[2] == export.url(data[table.at(2) : table.at(3)])


def test_a_line_number_counts_header_and_rows() -> None:
    table = table_of(fixed_batch(Level.ITEM))
    assert (table.line(0), table.line(CODES - 1)) == (2, CODES + 1)


def test_a_batch_in_a_format_this_version_lacks_says_so() -> None:
    """Happens after a downgrade of the service."""
    batch = replace(fixed_batch(Level.ITEM), format="later")
    for ask in (export_of, table_of, file_name):
        with pytest.raises(Unavailable, match="later"):
            ask(batch)


class _Grouped(Csv):
    """A format that breaks its promise: serials in groups of four."""

    def row(self, code: CodeRow) -> bytes:
        serial = code.serial
        return " ".join(serial[at : at + 4] for at in range(0, len(serial), 4)).encode() + b"\n"


class _Uneven(Csv):
    """A format that breaks its promise: the width depends on the signature."""

    def row(self, code: CodeRow) -> bytes:
        return code.url.replace("B", "").encode() + b"\n"


@pytest.mark.parametrize("export", [_Grouped(), _Uneven()])
def test_a_format_whose_rows_cannot_be_filled_in_is_a_defect(export: Export) -> None:
    """It is noticed before the first row is written, not in a printed code."""
    with pytest.raises(ValueError, match="row"):
        CodeTable(fixed_batch(Level.ITEM), export)


def test_signatures_are_placed_wherever_the_url_is() -> None:
    """A format may repeat the URL."""

    class Twice(Csv):
        def row(self, code: CodeRow) -> bytes:
            return f"{code.url} {code.url}\n".encode()

    table = CodeTable(fixed_batch(Level.LOT), Twice())
    first, second = table.only_row(signatures(1)).tobytes().split()
    assert first == second
    assert parse(path_of(first.decode())).seal is not None
