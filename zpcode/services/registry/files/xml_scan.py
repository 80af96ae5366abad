"""Scan one XML part of a workbook in pieces: count its elements, and refuse content that a workbook does not have.

The workbook reader creates an object for each element, so the counts here limit its memory. Content beyond 50 000 rows or
64 columns of a sheet is refused. Empty formatted cells beyond them are common and allowed.

Expat before 2.6 reads an incomplete token (a tag, a comment, a declaration) again from its start with every piece:
quadratic in the token's size (CVE-2023-52425). CPython has such a version inside. So the size of a token is bounded here,
whatever the version, and the reader, which parses a second time, gets no longer one.
"""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

from zpcode.errors import Refused, refusal

MAX_ROWS: Final = 50_000
MAX_COLUMNS: Final = 64
MAX_ELEMENTS: Final = 4_000_000  # all parts together
MAX_OTHER_ELEMENTS: Final = 100_000  # in a part, outside rows and shared strings
MAX_TOKEN: Final = 128 * 2**10  # bytes; a tag with all attributes of a spreadsheet is below 8 KiB
_MAX_ROW_ELEMENTS = 1_048_576  # the most rows of a spreadsheet
_MAX_CELLS = 16_384
_MAX_DEPTH = 32
_MAX_UNCACHED = 1000
_ROW_TAGS = frozenset({"row", "c", "v", "f", "is", "t", "r", "rPr", "si"})


def _refuse(zh: str, en: str) -> Refused:
    return refusal("too_much", f"工作簿内容超出限制：{zh}", f"the workbook exceeds the limits: {en}")


def _broken() -> Refused:
    return refusal(
        "broken_xml",
        "工作簿内部内容无法读取，请用电子表格软件重新另存为 .xlsx 后再试",
        "a part of the workbook cannot be read; open it in a spreadsheet program and save it as .xlsx again",
    )


class Scan:
    """The scan of one part. `elements` continues the count of earlier parts. `uncached` are formula cells without a value."""

    def __init__(self, *, is_sheet: bool, elements: int) -> None:
        self.elements = elements
        self.uncached: set[str] = set()
        self._is_sheet = is_sheet
        self._fed = 0
        self._other = self._depth = self._rows = self._row = self._cells = 0
        self._cell, self._formula, self._value, self._in_value = "", False, False, False
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.CommentHandler = self._parser.ProcessingInstructionHandler = self._no_content

    def feed(self, piece: bytes) -> None:
        """Scan the next piece. Raises Refused."""
        self._parse(piece, final=False)

    def close(self) -> None:
        """End the part. Raises Refused if it is incomplete."""
        self._parse(b"", final=True)

    def _parse(self, piece: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(piece, final)
        except (expat.ExpatError, ValueError, LookupError) as error:
            raise _broken() from error
        self._fed += len(piece)
        if self._fed - self._parser.CurrentByteIndex > MAX_TOKEN:
            raise _refuse("单个标记过长", "a tag or a comment is too long")

    def _no_content(self, *_: object) -> None:
        self._other += 1
        if self._other > MAX_OTHER_ELEMENTS:
            raise _refuse("内容过多", "too many elements")

    def _doctype(self, *_: object) -> None:
        raise refusal(
            "doctype",
            "工作簿内含文档类型声明（可能是 XML 炸弹），已拒绝",
            "the workbook declares a document type (possibly an XML bomb); it is refused",
        )

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        self.elements += 1
        self._depth += 1
        self._other += name not in _ROW_TAGS
        if self.elements > MAX_ELEMENTS or self._other > MAX_OTHER_ELEMENTS or self._depth > _MAX_DEPTH:
            raise _refuse("内容过多", "too many elements")
        if not self._is_sheet:
            return
        if name == "row":
            self._start_row(attributes.get("r", ""))
        elif name == "c":
            self._start_cell(attributes)
        elif name == "f":
            self._formula = True
        elif name in {"v", "is"}:
            self._in_value = True

    def _start_row(self, number: str) -> None:
        self._rows += 1
        self._cells = 0
        plain = number.isascii() and number.isdigit() and len(number) < 9
        before, self._row = self._row, int(number) if plain else MAX_ROWS + 1 if number else self._row + 1
        if self._row <= before:
            raise _broken()  # the reader would skip a row that is out of order
        if self._rows > _MAX_ROW_ELEMENTS:
            raise _refuse("行数过多", "too many rows")

    def _start_cell(self, attributes: dict[str, str]) -> None:
        self._cells += 1
        self._cell = attributes.get("r", "")
        self._formula = False
        self._value = attributes.get("t") == "str"
        if self._cells > _MAX_CELLS:
            raise _refuse("单元格过多", "too many cells in a row")

    def _text(self, text: str) -> None:
        if self._in_value and text.strip():
            self._value = True
            if self._row > MAX_ROWS:
                raise _refuse(f"每张工作表最多 {MAX_ROWS} 行", f"at most {MAX_ROWS} rows a sheet")
            if self._column_is_beyond():
                raise _refuse(f"每张工作表最多 {MAX_COLUMNS} 列", f"at most {MAX_COLUMNS} columns a sheet")

    def _column_is_beyond(self) -> bool:
        letters = self._cell.rstrip("0123456789")
        return self._cells > MAX_COLUMNS if not letters else (len(letters), letters) > (2, "BL")

    def _end(self, tag: str) -> None:
        self._depth -= 1
        name = tag.rpartition(" ")[2]
        if name in {"v", "is"}:
            self._in_value = False
        if name == "c" and self._formula and not self._value and len(self.uncached) < _MAX_UNCACHED:
            self.uncached.add(self._cell)
