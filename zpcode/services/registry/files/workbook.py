"""Read a registry workbook as rows of cells: find the sheets, their headers and their columns.

Names of sheets and headers may be Chinese, English or both; columns may be in any order. Blank rows are ignored. An
unknown column that is not blank is a finding, because a misspelt header would otherwise lose data silently.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from openpyxl import load_workbook
from openpyxl.utils import get_column_letter

from zpcode.errors import Findings, refusal
from zpcode.language.normalization import normalized_if_safe
from zpcode.rules.registry.cell_values import is_blank
from zpcode.rules.registry.layout import SHEETS, Column, Field, Sheet
from zpcode.rules.registry.reader import SheetRow, UnreadableCell, shown
from zpcode.services.registry.files.archive import Archive, broken, checked
from zpcode.services.registry.files.xml_scan import MAX_COLUMNS, MAX_ROWS

HELP_SHEET: Final = "说明 Help"
_HEADER_WITHIN = 10  # rows; there may be a title and a remark above the header
_MAX_SHEETS = 64


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a sheet: the title of the sheet, the row number, and the columns by index."""

    title: str
    row: int
    columns: dict[int, Column]
    unknown: dict[int, str]

    def column_text(self, name: str) -> str:
        """The letter and the header of a column, for messages."""
        for index, column in self.columns.items():
            if column.name == name:
                letter = get_column_letter(index + 1)
                return f"{letter} 列 column {letter}「{column.zh} / {column.en}」"
        return ""


@dataclass(frozen=True, slots=True)
class SheetLocation:
    """The location of one row, for messages."""

    header: Header
    row: int

    def where(self, column: str = "") -> str:
        """`产品 Products, 第 3 行 row 3, B 列 column B「…」`."""
        parts = (self.header.title, f"第 {self.row} 行 row {self.row}", self.header.column_text(column))
        return ", ".join(part for part in parts if part)


@dataclass(slots=True)
class Reading:
    """The state of reading one sheet: its cells without a stored value, and the findings."""

    title: str
    uncached: frozenset[str]
    findings: Findings
    reported: set[int] = field(default_factory=set)


def rows(data: bytes, findings: Findings) -> list[SheetRow]:
    """All rows of a workbook. Raises Refused if it cannot be read."""
    archive = checked(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and extensions, which do not matter here
            return list(_all_rows(archive, findings))
    # openpyxl raises many kinds of errors on a malformed part.
    except (ArithmeticError, AssertionError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise broken() from error


def _all_rows(archive: Archive, findings: Findings) -> Iterator[SheetRow]:
    workbook = load_workbook(archive.file, read_only=True, data_only=True, keep_links=False)
    any_sheet = False
    if len(workbook.worksheets) > _MAX_SHEETS:
        raise refusal("too_much", f"最多 {_MAX_SHEETS} 张工作表", f"at most {_MAX_SHEETS} sheets")
    for worksheet in workbook.worksheets:
        path = str(getattr(worksheet, "_worksheet_path", "")).lstrip("/")
        reading = Reading(worksheet.title, archive.uncached.get(path, frozenset()), findings)
        worksheet.reset_dimensions()  # the declared size of a sheet may be wrong
        lines = worksheet.iter_rows(min_row=1, max_row=MAX_ROWS, max_col=MAX_COLUMNS)
        sheet = sheet_named(worksheet.title)
        any_sheet = any_sheet or sheet is not None
        if sheet is not None:
            yield from _sheet_rows(sheet, lines, reading)
        elif _is_foreign(worksheet.title, lines):
            _unknown_sheet(worksheet.title, findings)
    if not any_sheet:
        names = "、".join(sheet.zh for sheet in SHEETS)
        english = ", ".join(sheet.en for sheet in SHEETS)
        raise refusal("no_sheet", f"没有可导入的工作表（{names}）", f"no sheet to import ({english})")


def _key(text: str) -> str:
    return re.sub(r"[\s*_]|\(必填\)", "", normalized_if_safe("NFKC", text)).casefold()


def sheet_named(title: str) -> Sheet | None:
    """The sheet with this title: `产品`, `Products` or `产品 Products`; or None."""
    for sheet in SHEETS:
        if _key(title) in {_key(sheet.zh), _key(sheet.en), _key(sheet.plural), _key(sheet.title)}:
            return sheet
    return None


def _is_foreign(title: str, lines: Iterator[Sequence[Any]]) -> bool:
    if _key(title) in {"说明", "help", _key(HELP_SHEET)}:
        return False
    return any(not is_blank(cell.value) for line in lines for cell in line)


def _unknown_sheet(title: str, findings: Findings) -> None:
    names = "、".join(sheet.zh for sheet in SHEETS)
    findings.add(
        "unknown_sheet",
        f"未知的工作表，请更正名称或删除；可用的有：{names}",
        "an unknown sheet; rename or remove it. Known sheets: " + ", ".join(sheet.en for sheet in SHEETS),
        where=title,
    )


def _names(one: Field) -> Iterator[tuple[str, Column]]:
    for column in one.columns:
        yield from ((_key(text), column) for text in (column.name, column.zh, column.en, f"{column.zh}/{column.en}"))
    if one.bilingual:
        zh, en = one.columns
        yield from ((_key(text), zh) for text in (one.zh, one.en, f"中文{one.zh}", f"{one.en} (Chinese)"))
        yield from ((_key(text), en) for text in (f"英文{one.zh}", f"{one.en} (English)"))


def columns_by_header(sheet: Sheet) -> dict[str, Column]:
    """The columns of a sheet by every spelling of their headers, folded."""
    return {name: column for one in sheet.fields for name, column in _names(one)}


def _column(by_header: dict[str, Column], text: str) -> Column | None:
    parts = (text, *re.split(r"[/\n]", text))
    return next((by_header[_key(part)] for part in parts if _key(part) in by_header), None)


def _header(sheet: Sheet, title: str, lines: Iterator[tuple[int, Sequence[Any]]]) -> tuple[Header | None, bool]:
    """The header among the first rows; and whether these rows had any content."""
    by_header, something = columns_by_header(sheet), False
    for number, line in lines:
        texts = {index: str(cell.value) for index, cell in enumerate(line) if not is_blank(cell.value)}
        something = something or bool(texts)
        matched = {index: _column(by_header, text[:200]) for index, text in texts.items()}
        columns = {index: column for index, column in matched.items() if column is not None}
        if len(columns) >= 2:
            unknown = {index: text for index, text in texts.items() if index not in columns}
            return Header(title, number, columns, unknown), True
        if number >= _HEADER_WITHIN:
            break
    return None, something


def _sheet_rows(sheet: Sheet, lines: Iterator[Sequence[Any]], reading: Reading) -> Iterator[SheetRow]:
    numbered = iter(enumerate(lines, 1))
    header, something = _header(sheet, reading.title, numbered)
    if header is None:
        if something:
            reading.findings.add(
                "no_header",
                f"前 {_HEADER_WITHIN} 行中没有表头",
                f"no header among the first {_HEADER_WITHIN} rows",
                where=reading.title,
            )
        return
    absent = _absent_columns(sheet, header, reading.findings)
    given = frozenset(column.name for column in header.columns.values())
    for number, line in numbered:
        location = SheetLocation(header, number)
        cells = {index: cell for index, cell in enumerate(line) if _has_content(cell, reading)}
        if cells:
            _report_unknown_columns(cells, location, reading)
            values = {header.columns[index].name: cell for index, cell in cells.items() if index in header.columns}
            yield SheetRow(sheet, location, {**_read(values, location, reading), **absent}, given)


def _has_content(cell: Any, reading: Reading) -> bool:
    # An empty filler cell has no coordinate; a formula without a stored value is not an empty cell.
    return not is_blank(cell.value) or (bool(reading.uncached) and getattr(cell, "coordinate", "") in reading.uncached)


def _absent_columns(sheet: Sheet, header: Header, findings: Findings) -> dict[str, UnreadableCell]:
    """Findings for headers that occur twice or not at all; without a required column every row is unreadable."""
    names = [column.name for column in header.columns.values()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        findings.add(
            "repeated_column",
            "同一列出现了两次",
            "the same column occurs twice",
            where=SheetLocation(header, header.row).where(name),
        )
    absent = [column for column in sheet.columns if column.required and column.name not in names]
    for column in absent:
        findings.add(
            "missing_column",
            f"缺少必填列“{column.zh}”",
            f"the required column {column.en} is missing",
            where=SheetLocation(header, header.row).where(),
        )
    return {column.name: UnreadableCell() for column in absent}


def _report_unknown_columns(cells: dict[int, Any], location: SheetLocation, reading: Reading) -> None:
    header = location.header
    for index in cells:
        if index not in header.columns and index not in reading.reported:
            reading.reported.add(index)
            letter = get_column_letter(index + 1)
            reading.findings.add(
                "unknown_column",
                "未知的列，请改用模板中的表头，或删除此列",
                "an unknown column; use a header of the template, or remove the column",
                where=f"{header.title}, 第 {location.row} 行 row {location.row}, {letter} 列 column {letter}",
                value=shown(header.unknown.get(index, "")),
            )


def _read(cells: dict[str, Any], location: SheetLocation, reading: Reading) -> dict[str, object]:
    return {name: _value(cell, location.where(name), reading) for name, cell in cells.items()}


def _value(cell: Any, where: str, reading: Reading) -> object:
    if cell.coordinate in reading.uncached:
        reading.findings.add(
            "no_cached_value",
            "公式没有保存计算结果，请用电子表格软件打开并保存，或改填数值",
            "a formula without a stored result; open and save the file in a spreadsheet program, or type the value",
            where=where,
        )
        return UnreadableCell()
    if cell.data_type == "e":
        reading.findings.add(
            "formula_error",
            "单元格是错误值，请更正",
            "the cell has an error value; correct it",
            where=where,
            value=shown(cell.value),
        )
        return UnreadableCell()
    return cell.value
