"""Hostile files are refused with an explanation, within the limits of time and memory."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import date
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.registry_data import as_json, as_workbook, as_xlsx, registry, saved
from zpcode.errors import ImportRefused, Refused, ZpError
from zpcode.rules.registry import consistency
from zpcode.rules.registry.records import Registry
from zpcode.services.registry.files import archive, xml_scan
from zpcode.services.registry.importing import read_file

TODAY = date(2026, 11, 21)
GOOD = as_xlsx(registry())
SHEET = "xl/worksheets/sheet5.xml"  # 产品
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def reason(data: bytes) -> str:
    """Why a file is refused."""
    with pytest.raises(ImportRefused) as refused:
        read_file(data, TODAY)
    finding = refused.value.findings[-1]
    assert finding.text.zh
    assert finding.text.en
    return finding.reason


def replaced(member: str, content: bytes, data: bytes = GOOD) -> bytes:
    """A workbook with one of its parts replaced."""
    target = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, content if info.filename == member else old.read(info))
    return target.getvalue()


def sheet_xml(rows: str, before: str = "") -> bytes:
    """A sheet's XML around these rows."""
    return f"<worksheet {MAIN}>{before}<sheetData>{rows}</sheetData></worksheet>".encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not_a_workbook"),
        (b"hello", "not_a_workbook"),
        (b"%PDF-1.7", "not_a_workbook"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "legacy"),
        (b"PK\x03\x04", "broken"),
        (GOOD[: len(GOOD) // 2], "broken"),
        (GOOD[:-30], "broken"),
        (b"{", "not_json"),
        (b"[1]", "not_json"),
        (b'{"products": 1}\xff', "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"a":' * 100_000, "not_json"),
        (b"[" + b"," * 2_000_001, "too_much"),
        (b"PK" + bytes(archive.MAX_FILE), "too_large"),
        (b"{" + b" " * archive.MAX_FILE, "too_large"),
    ],
)
def test_what_is_no_registry_file_is_refused(data: bytes, why: str) -> None:
    assert reason(data) == why


def test_a_password_is_reported() -> None:
    data = bytearray(GOOD)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (position := data.find(signature, start)) >= 0:
            data[position + offset] |= 1
            start = position + 4
    assert reason(bytes(data)) == "encrypted"


def test_a_part_that_unpacks_beyond_reason_is_refused_unread() -> None:
    assert reason(replaced(SHEET, sheet_xml("<row r='1'/>" + " " * 30_000_000))) == "too_much"


def test_a_directory_that_lies_about_sizes_gains_nothing() -> None:
    huge = replaced(SHEET, sheet_xml(" " * 30_000_000))
    lying = bytearray(huge)
    at = lying.find(SHEET.encode(), lying.find(b"PK\x01\x02")) - 46
    lying[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    tracemalloc.start()
    try:
        assert reason(bytes(lying)) == "broken"
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_more_parts_than_a_workbook_has_are_refused() -> None:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        for number in range(archive.MAX_MEMBERS + 1):
            made.writestr(f"{number}", b"")
    assert reason(target.getvalue()) == "too_much"


def test_an_xml_bomb_is_refused() -> None:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol"}">' for n in range(10))
    bomb = f"<?xml version='1.0'?><!DOCTYPE x [{entities}]>".encode() + sheet_xml(
        "<row><c t='str'><v>&l9;</v></c></row>"
    )
    assert reason(replaced(SHEET, bomb)) == "doctype"


@pytest.mark.parametrize(
    "member", ["xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml", "xl/_rels/workbook.xml.rels", SHEET]
)
@pytest.mark.parametrize(
    "content", [b"", b"<", b"<a/>", b"\x00\x01", b"<a><b></a>", b"<?xml version='1.0' encoding='no'?><a/>"]
)
def test_a_broken_part_is_refused_or_reported(member: str, content: bytes) -> None:
    try:
        findings = read_file(replaced(member, content), TODAY)[1]
    except ImportRefused as refused:
        assert refused.findings  # noqa: PT017 - either is right: refused, or read as an empty sheet
    else:
        assert member == SHEET or not findings.items


def test_a_sheet_that_claims_a_million_columns_costs_nothing() -> None:
    with zipfile.ZipFile(BytesIO(GOOD)) as good:
        xml = good.read(SHEET)
    start, end = xml.index(b"<dimension"), xml.index(b"/>", xml.index(b"<dimension")) + 2
    lying = replaced(SHEET, xml[:start] + b'<dimension ref="A1:XFD1048576"/>' + xml[end:])
    tracemalloc.start()
    try:
        draft, findings = read_file(lying, TODAY)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()
    assert not findings.items
    assert len(draft.registry.products) == 1


@pytest.mark.parametrize(
    "rows",
    [
        f'<row r="{xml_scan.MAX_ROWS + 1}"><c r="A{xml_scan.MAX_ROWS + 1}" t="str"><v>x</v></c></row>',
        '<row r="999999999"><c t="str"><v>x</v></c></row>',
        '<row r="1"><c r="BM1" t="str"><v>x</v></c></row>',
        '<row r="1"><c r="XFD1" t="inlineStr"><is><t>x</t></is></c></row>',
        "<row>" + "<c/>" * 16_385 + "</row>",
        "<row>" + "<c/>" * 64 + "<c><v>1</v></c></row>",
        "<x>" * 40 + "</x>" * 40,
        "<mergeCell/>" * (xml_scan.MAX_OTHER_ELEMENTS + 1),
    ],
)
def test_a_sheet_beyond_its_bounds_is_refused(rows: str) -> None:
    assert reason(replaced(SHEET, sheet_xml(rows))) == "too_much"


def test_rows_out_of_order_are_refused_rather_than_lost() -> None:
    assert reason(replaced(SHEET, sheet_xml('<row r="3"/><row r="2"/>'))) == "broken_xml"


def test_too_many_elements_are_refused_before_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_scan, "MAX_ELEMENTS", 5000)
    assert reason(replaced(SHEET, sheet_xml("<row/>" * 5000))) == "too_much"


def test_formatted_empty_cells_out_there_do_no_harm() -> None:
    workbook = as_workbook(registry())
    workbook.worksheets[4].cell(60_000, 200).number_format = "@"
    assert not read_file(saved(workbook), TODAY)[1].items


@pytest.mark.proof
def test_the_largest_sheet_that_is_allowed_is_read() -> None:
    workbook = as_workbook(registry())
    bodies = workbook.worksheets[2]
    for number in range(xml_scan.MAX_ROWS - 2):
        bodies.append([f"B{number}", "机构"])
    draft, findings = read_file(saved(workbook), TODAY)
    assert not findings.items
    assert len(draft.registry.bodies) == xml_scan.MAX_ROWS - 1


def _examined(data: bytes) -> None:
    """Read and check; only this service's own errors may come out."""
    try:
        draft, findings = read_file(data, TODAY)
        consistency.check(consistency.Checker(draft, Registry(), draft.registry, findings), TODAY)
    except ZpError as error:
        assert error.findings  # noqa: PT017 - nothing else may escape


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PK\x03\x04", b"{", b'{"products":[', b"\xef\xbb\xbf{", b"\xd0\xcf\x11\xe0"]),
)
def test_no_bytes_raise_anything_but_our_own_errors(data: bytes, start: bytes) -> None:
    _examined(start + data)


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_no_mutation_of_a_workbook_raises_anything_but_our_own_errors(seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(GOOD)
    for _ in range(draw.randint(1, 12)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    _examined(bytes(data))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(0, 2**32))
@pytest.mark.proof
def test_no_mutation_inside_a_part_raises_anything_but_our_own_errors(seed: int) -> None:
    draw = random.Random(seed)
    with zipfile.ZipFile(BytesIO(GOOD)) as good:
        member = draw.choice([name for name in good.namelist() if name.endswith((".xml", ".rels"))])
        part = bytearray(good.read(member))
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(part))
        part[at : at + draw.randint(0, 4)] = draw.choice(
            [b"", b"<", b"9", b'"', b"/>", b"-1", b"99999999999", b"&", b"t=", b"\xff"]
        )
    _examined(replaced(member, bytes(part)))


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.integers(0, 2**32))
def test_no_mutation_of_json_raises_anything_but_our_own_errors(seed: int) -> None:
    draw = random.Random(seed)
    data = bytearray(as_json(registry()))
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data))
        data[at : at + draw.randint(0, 3)] = draw.choice(
            [b"", b"null", b"1e999", b"[]", b"{}", b'"', b"\\ud800", b"9" * 400, b"-0.0", b"true"]
        )
    _examined(bytes(data))


LONG = 32 * 2**20
TOKENS = {
    "comment": (b"<!--", b"-->"),
    "attribute": (b'<row r="', b'"/>'),
    "processing instruction": (b"<?x ", b"?>"),
    "name": (b"<", b"/>"),
    "doctype": (b"<!DOCTYPE ", b">"),
    "system identifier": (b'<!DOCTYPE x SYSTEM "', b'">'),
    "entity reference": (b"&", b";"),
    "end tag": (b"</", b">"),
}
"""What opens and closes each kind of token that expat keeps until it is complete."""


def fed_until_refused(opening: bytes, filling: bytes = b"a" * archive.PIECE) -> tuple[int, str]:
    """How many bytes of a part the scan takes before it refuses it, and why; the part is an opening and 32 MiB of filling."""
    scan, fed = xml_scan.Scan(is_sheet=True, elements=0), 0
    pieces = itertools.chain((opening,), itertools.repeat(filling, LONG // len(filling)))
    for piece in pieces:
        fed += len(piece)
        try:
            scan.feed(piece)
        except Refused as refused:
            return fed, refused.findings[0].reason
    return fed, ""


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("within", [True, False])
def test_a_long_token_is_refused_after_a_few_pieces(kind: str, within: bool) -> None:
    """CVE-2023-52425: expat before 2.6 reads an incomplete token again with every piece, 75 s for a file of 1.5 MB."""
    opening = (b"<worksheet>" if within else b"") + TOKENS[kind][0]
    fed, why = fed_until_refused(opening)
    assert why in {"too_much", "broken_xml", "doctype"}
    assert fed <= xml_scan.MAX_TOKEN + 2 * archive.PIECE


def test_a_long_text_or_character_section_is_no_token() -> None:
    """Expat passes both on piece by piece, so their cost is that of their bytes."""
    for opening in (b"<worksheet>", b"<worksheet><![CDATA["):
        assert fed_until_refused(opening)[1] == ""


def test_comments_and_instructions_are_few() -> None:
    """No spreadsheet program writes any: a sheet of nothing else is refused, however short each is."""
    for one in (b"<!-- -->", b"<?x y?>"):
        fed, why = fed_until_refused(b"<worksheet>", one * (archive.PIECE // len(one)))
        assert why == "too_much"
        assert fed <= 2 * 2**20


_MEASURED = """
import datetime, pathlib, resource, sys
from zpcode.errors import ImportRefused
from zpcode.services.registry.importing import read_file
data, before = pathlib.Path(sys.argv[1]).read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
try:
    read_file(data, datetime.date(2026, 11, 21))
    why = "accepted"
except ImportRefused as refused:
    why = refused.findings[-1].reason
print(why, resource.getrusage(resource.RUSAGE_SELF).ru_utime - before)
"""


def processor_seconds(row: bytes, path: Path, opening: bytes = b"", closing: bytes = b"") -> tuple[str, float]:
    """Read a workbook with 32 MiB of this row in a separate process: why it is refused, and its processor time."""
    chance = random.Random(1)
    rows = (row % chance.randbytes(400).hex().encode() for _ in range(LONG // len(row)))
    content = opening + b"".join(rows) + closing
    path.write_bytes(replaced(SHEET, sheet_xml("").replace(b"</sheetData>", content + b"</sheetData>")))
    assert path.stat().st_size < 2 * 10**6
    done = subprocess.run([sys.executable, "-c", _MEASURED, path], capture_output=True, text=True, check=True)
    why, seconds = done.stdout.split()
    return why, float(seconds)


def test_the_longest_tokens_that_are_allowed_cost_seconds_of_processor_time(tmp_path: Path) -> None:
    """32 MiB of them, out of a file below 2 MB: the scan and the reader both parse them."""
    longest = b'<row x="%s' + b"a" * (xml_scan.MAX_TOKEN - archive.PIECE) + b'"/>'
    why, seconds = processor_seconds(longest, tmp_path / "worst.xlsx")
    assert (why, seconds < 8) == ("accepted", True)


def test_a_comment_of_32_mib_in_a_small_file_costs_next_to_nothing(tmp_path: Path) -> None:
    """One of 64 MiB took 75 s of processor time with expat 2.5; the time grew with the square of the size."""
    line = b"%s" + b"a" * (LONG // 1000)
    why, seconds = processor_seconds(line, tmp_path / "comment.xlsx", b"<!-- ", b" -->")
    assert (why, seconds < 8) == ("too_much", True)
