"""The promises of every registered format. A new format is tested here automatically."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.export_batches import CODES, fixed_batch, signatures, written
from zpcode.errors import Unavailable
from zpcode.exports.base import CodeRow, Export, FileLayout, codes_a_part
from zpcode.exports.csv import Csv
from zpcode.exports.formats import EXPORTS, export_of, file_name, layout_of
from zpcode.exports.rows import RowFile
from zpcode.exports.table import CodeTable
from zpcode.exports.text import TextFormat
from zpcode.rules.batches.batch import DEFAULT_FORMAT, Batch
from zpcode.wire import bulk
from zpcode.wire.link import parse, path_of
from zpcode.wire.payload import Level
from zpcode.wire.permutation import Permutation


class CsvByRow(Csv):
    """The format `csv` in the general layout."""

    def layout(self, batch: Batch) -> RowFile:  # type: ignore[override]
        """Rows of any width."""
        return RowFile(batch, self)


registered = pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)
every_format = pytest.mark.parametrize("export", [*EXPORTS.values(), CsvByRow()], ids=[*EXPORTS, "csv by row"])
every_level = pytest.mark.parametrize("level", Level)


@registered
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
def test_each_code_is_read_back_from_the_file(export: Export, level: Level) -> None:
    """With its index, at whichever place reading starts."""
    batch = fixed_batch(level, export.name)
    data, layout = written(export.layout(batch), level), export.layout(batch)
    assert len(data) == layout.size or not layout.exact
    assert len(data) <= len(layout.header) + batch.codes * layout.code_bytes + len(layout.footer())
    assert data.startswith(layout.header)
    permutation, middle, last = Permutation(batch.permutation_key), batch.codes // 2, batch.codes - 1
    for spans in ([range(batch.codes)], [range(1), *(range(index, index + 1) for index in {middle, last} - {0})]):
        read = list(layout.codes(io.BytesIO(data), spans))
        assert [code.index for code in read] == list(itertools.chain(*spans))
        for code in read:
            assert code.intact
            serial = parse(path_of(code.url or "")).identity.serial
            assert serial is None or permutation.index(serial.slot) == code.index


@every_format
@every_level
def test_a_changed_byte_is_noticed_in_its_code_and_in_no_other(export: Export, level: Level) -> None:
    """A killed issue keeps the parts before it."""
    batch = fixed_batch(level, export.name)
    data, layout = bytearray(written(export.layout(batch), level)), export.layout(batch)
    middle = batch.codes // 2
    before = layout.part_at(_after(layout.header, data), 0, max(1, middle))
    assert before is not None
    changed = data.index(next(layout.codes(io.BytesIO(data), [range(middle, middle + 1)])).raw) + 1
    data[changed] ^= 0x20
    read = layout.codes(io.BytesIO(data), [range(batch.codes)])
    assert [code.index for code in read if not code.intact] == [middle]
    assert layout.part_at(_after(layout.header, data), 0, batch.codes) is None


@every_format
def test_a_part_cut_off_is_not_kept(export: Export) -> None:
    """A code that is not complete is no code."""
    batch = fixed_batch(Level.ITEM, export.name)
    data, layout = written(export.layout(batch), Level.ITEM), export.layout(batch)
    three = layout.part_at(_after(layout.header, data), 0, 3)
    assert three is not None
    cut = layout.header + three[:-5]
    assert layout.part_at(_after(layout.header, cut), 0, 3) is None
    assert len(list(layout.codes(io.BytesIO(layout.header + three), [range(CODES)]))) == 3


@every_format
def test_a_part_in_the_place_of_another_is_not_kept(export: Export) -> None:
    """A crash may leave old bytes: whole codes of this batch, but not those that belong there."""
    batch = fixed_batch(Level.ITEM, export.name)
    data, layout = written(export.layout(batch), Level.ITEM), export.layout(batch)
    first = layout.part_at(_after(layout.header, data), 0, CODES // 4)
    assert first is not None
    assert layout.part_at(io.BytesIO(first), CODES // 2, CODES // 4) is None
    assert layout.part_at(io.BytesIO(first), 0, CODES // 4) == first


@pytest.mark.parametrize(
    ("code_bytes", "most", "codes"),
    [(148, 8192, 8192), (4096, 8192, 8192), (4097, 8192, 8190), (1 << 20, 8192, 32), (1 << 26, 8192, 1), (148, 9, 9)],
)
def test_a_part_has_at_most_32_mib_and_at_least_one_code(code_bytes: int, most: int, codes: int) -> None:
    assert codes_a_part(code_bytes, most) == codes


def _after(header: bytes, data: bytes | bytearray) -> io.BytesIO:
    """A file behind its header."""
    file = io.BytesIO(data)
    file.seek(len(header))
    return file


@every_level
def test_rows_filled_into_a_template_equal_one_call_for_each(level: Level) -> None:
    """The fast layout and the general one write the same bytes."""
    batch = fixed_batch(level)
    assert written(CodeTable(batch, Csv()), level) == written(RowFile(batch, Csv()), level)


@pytest.mark.parametrize("layout", [CodeTable, RowFile])
def test_a_line_number_counts_header_and_rows(layout: Callable[[Batch, TextFormat], FileLayout]) -> None:
    """As an editor counts them."""
    batch = fixed_batch(Level.ITEM)
    file = io.BytesIO(written(layout(batch, Csv()), Level.ITEM))
    read = list(layout(batch, Csv()).codes(file, [range(1), range(CODES - 1, CODES)]))
    assert [code.place for code in read] == ["2", str(CODES + 1)]


def test_a_batch_in_a_format_this_version_lacks_says_so() -> None:
    """Happens after a downgrade of the service."""
    batch = replace(fixed_batch(Level.ITEM), format="later")
    for ask in (export_of, layout_of, file_name):
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
def test_a_format_whose_rows_cannot_be_filled_in_is_a_defect(export: Csv) -> None:
    """It is noticed before the first row is written, not in a printed code."""
    with pytest.raises(ValueError, match="row"):
        CodeTable(fixed_batch(Level.ITEM), export)


def test_signatures_are_placed_wherever_the_url_is() -> None:
    """A format may repeat the URL."""

    class Twice(Csv):
        def row(self, code: CodeRow) -> bytes:
            return f"{code.url} {code.url}\n".encode()

    batch = fixed_batch(Level.LOT)
    part = CodeTable(batch, Twice()).part(bulk.slots(batch.permutation_key, 0, 0), signatures(1))
    first, second = bytes(part).split()
    assert first == second
    assert parse(path_of(first.decode())).seal is not None
