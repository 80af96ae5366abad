"""The template of the registry workbook: one sheet for each entity, headers in two languages, and a help sheet.

Cells are formatted as text, so that a GTIN keeps its leading zeros. Enumerations are drop-down lists. The header of each
column has a comment that explains it.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.datavalidation import DataValidation
from openpyxl.worksheet.worksheet import Worksheet

from zpcode.rules.registry.layout import SHEETS, CellKind, Column, Field, Sheet
from zpcode.services.registry.files.workbook import HELP_SHEET
from zpcode.services.registry.files.xml_scan import MAX_ROWS

_HELP: Final = (
    ("浙品码登记表", "Registry workbook of 浙品码"),
    (
        "每张工作表是一类记录，一行一条；带 * 的列必须填写。",
        "Each sheet is one kind of record, a row each; columns with * are required.",
    ),
    (
        "各列次序不限；不用的工作表可以整张删除。",
        "Columns may stand in any order; a sheet that is not needed may be removed.",
    ),
    ("日期写作 2026-01-05；多个编号用分号隔开。", "Dates as 2026-01-05; several numbers with semicolons between."),
    (
        "指标的单位填在“单位”列，数值写作 ≥ 30、≤ 5、30~50、±0.02。",
        "The unit of an indicator has its own column; figures as ≥ 30, ≤ 5, 30~50, ±0.02.",
    ),
    (
        "同一产品的指标、承诺、声明按行的次序显示；再次导入时，文件中出现的产品，其在该表中的内容整体替换。",
        "Indicators, commitments, claims: shown in the order of rows; importing again replaces a product's rows as a whole.",
    ),
    (
        "每个产品至少要有一项执行标准、一项指标、一条“首负责任”和一条“热线”。",
        "Every product needs a standard, an indicator, a first responsibility and a hotline.",
    ),
    (
        "认定只走一条路径，只填该路径的证据。全部无误才会写入。",
        "A recognition has one path and the evidence of that path only. Nothing is written unless all is right.",
    ),
)
_REQUIRED = Font(bold=True, color="9C1C1C")
_OPTIONAL = Font(bold=True)
_FILL = PatternFill("solid", fgColor="F3EFE6")
_LONG = frozenset({"story", "text", "address", "standards", "certificates", "name", "title"})


def template() -> bytes:
    """The content of the workbook file."""
    workbook = Workbook()
    help_sheet = workbook.worksheets[0]
    help_sheet.title = HELP_SHEET
    _write_help(help_sheet)
    for sheet in SHEETS:
        _write_sheet(workbook.create_sheet(sheet.title), sheet)
    target = BytesIO()
    workbook.save(target)
    return target.getvalue()


def _write_help(worksheet: Worksheet) -> None:
    for zh, en in _HELP:
        worksheet.append([zh, en])
    worksheet.append([])
    for sheet in SHEETS:
        worksheet.append([sheet.title])
        for one in sheet.fields:
            worksheet.append(
                [f"    {one.zh}{'*' if one.required else ''}: {_note(one, 0)}", f"{one.en}: {_note(one, 1)}"]
            )
    for letter in "AB":
        worksheet.column_dimensions[letter].width = 72
    worksheet["A1"].font = Font(bold=True, size=14)


def _note(one: Field, language: int) -> str:
    words = ["; ".join((choice.zh, choice.en)[language] for choice in one.choices)]
    words += [(one.zh_note, one.en_note)[language]]
    if one.kind is CellKind.DATE:
        words.append("2026-01-05")
    if one.kind is CellKind.YES_NO:
        words.append(("是 / 否", "yes / no")[language])
    return "; ".join(word for word in words if word) or ("至多", "up to")[language] + f" {one.limit}"


def _write_sheet(worksheet: Worksheet, sheet: Sheet) -> None:
    number = 0
    for one in sheet.fields:
        for column in one.columns:
            number += 1
            _write_column(worksheet, number, one, column)
    worksheet.freeze_panes = "A2"
    worksheet.row_dimensions[1].height = 34


def _write_column(worksheet: Worksheet, number: int, one: Field, column: Column) -> None:
    letter = get_column_letter(number)
    header = worksheet.cell(1, number, f"{column.zh} / {column.en}{' *' if column.required else ''}")
    header.font = _REQUIRED if column.required else _OPTIONAL
    header.fill = _FILL
    header.alignment = Alignment(wrap_text=True, vertical="center")
    header.comment = Comment(f"{_note(one, 0)}\n{_note(one, 1)}", "zpcode", height=90, width=260)
    dimension = worksheet.column_dimensions[letter]
    dimension.width = 40 if one.name in _LONG else 22
    dimension.number_format = "yyyy-mm-dd" if one.kind is CellKind.DATE else "@"
    words = [choice.zh for choice in one.choices] or (["是", "否"] if one.kind is CellKind.YES_NO else [])
    if words:
        choice = DataValidation(type="list", formula1=f'"{",".join(words)}"', allow_blank=True)
        choice.add(f"{letter}2:{letter}{MAX_ROWS}")
        worksheet.add_data_validation(choice)
