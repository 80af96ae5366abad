"""Untidy workbooks are read as a person would read them; a finding names sheet, row, column and value."""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from io import BytesIO
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from tests.support.registry_data import as_json, as_workbook, as_xlsx, gtin, registry, saved, uscc
from zpcode.errors import Finding, ImportRefused
from zpcode.rules.registry.layout import INDICATORS, PRODUCTS, SHEETS
from zpcode.rules.registry.reader import FileRecords
from zpcode.services.registry.files.template import template
from zpcode.services.registry.files.workbook import HELP_SHEET, columns_by_header
from zpcode.services.registry.importing import read_file

TODAY = date(2026, 11, 21)


def read(workbook: Workbook) -> tuple[FileRecords, tuple[Finding, ...]]:
    """A workbook's records and findings."""
    draft, findings = read_file(saved(workbook), TODAY)
    return draft, findings.all()


def sheet(workbook: Workbook, name: str) -> Worksheet:
    """A worksheet by its Chinese name."""
    return next(one for one in workbook.worksheets if one.title.startswith(name))


def put(worksheet: Worksheet, header: str, value: Any, row: int = 2) -> Any:
    """Write below a header; returns the cell."""
    column = next(cell.column for cell in worksheet[1] if str(cell.value).startswith(header))
    assert isinstance(column, int)
    cell = worksheet.cell(row, column)
    cell.value = value
    return cell


def test_a_workbook_says_what_the_same_json_says() -> None:
    from_json, none = read_file(as_json(registry()), TODAY)
    from_workbook, also_none = read_file(as_xlsx(registry()), TODAY)
    assert not none.items
    assert not also_none.items
    assert from_workbook.registry == from_json.registry


def test_the_template_has_every_sheet_and_column_and_can_be_filled_in() -> None:
    workbook = load_workbook(BytesIO(template()))
    assert workbook.sheetnames == [HELP_SHEET, *(one.title for one in SHEETS)]
    filled = as_workbook(registry())
    for one in SHEETS:
        worksheet = workbook[one.title]
        assert worksheet.max_column == len(one.columns)
        assert all(cell.comment is not None for cell in worksheet[1])
        for row in filled[one.title].iter_rows(min_row=2, values_only=True):
            worksheet.append(row)
    draft, findings = read(workbook)
    assert findings == ()
    assert draft.registry.products[gtin()].standards == ("T/ZZB 0001-2023",)


def test_the_template_keeps_gtins_as_text_and_offers_every_choice() -> None:
    workbook = load_workbook(BytesIO(template()))
    products = sheet(workbook, "产品")
    assert products.column_dimensions["A"].number_format == "@"
    offered = {choice.formula1 for choice in sheet(workbook, "证书").data_validations.dataValidation}
    assert any("绿色产品" in formula for formula in offered)
    assert all(len(formula) <= 257 for one in workbook.worksheets for formula in (v.formula1 for v in one.data_validations.dataValidation))  # fmt: skip


def test_no_two_columns_of_a_sheet_answer_to_one_header() -> None:
    for one in SHEETS:
        spellings = columns_by_header(one)
        for field in one.fields:
            for column in field.columns:
                key = unicodedata.normalize("NFKC", column.zh).replace(" ", "").casefold()
                assert spellings[key] == column


def test_lost_zeros_full_width_forms_and_stray_blanks_are_corrected() -> None:
    workbook = as_workbook(registry())
    products, certificates = sheet(workbook, "产品"), sheet(workbook, "证书")
    put(products, "商品条码", int(gtin()))
    put(products, "统一社会信用代码", "".join(chr(ord(one) + 0xFEE0) for one in uscc()))
    put(products, "型号", "\u00a0 QC-1\u3000 ")
    put(certificates, "有效期起", datetime(2024, 1, 1))  # noqa: DTZ001 - as a spreadsheet has it
    put(certificates, "有效期止", "２０２９年12月31日")
    put(sheet(workbook, "认定"), "有效期起", 45352)
    draft, findings = read(workbook)
    assert findings == ()
    assert draft.registry == read_file(as_json(registry()), TODAY)[0].registry


def test_blank_rows_before_between_and_after_are_passed_over() -> None:
    workbook = as_workbook(registry())
    for worksheet in workbook.worksheets:
        worksheet.insert_rows(2, 3)
        worksheet.insert_rows(1, 2)
        worksheet.cell(1, 1, "2026 年度登记")
        for row in range(20, 400):
            worksheet.cell(row, 3, "  \u00a0")
    draft, findings = read(workbook)
    assert findings == ()
    assert gtin() in draft.registry.products


def test_columns_stand_in_any_order_and_headers_in_either_language() -> None:
    workbook = as_workbook(registry())
    for number, worksheet in enumerate(workbook.worksheets):
        rows = [list(reversed(row)) for row in worksheet.iter_rows(values_only=True)]
        rows[0] = [str(header).split(" / ")[number % 2] for header in rows[0]]
        worksheet.delete_rows(1, len(rows))
        for row in rows:
            worksheet.append(row)
        worksheet.title = SHEETS[number].en if number % 2 else SHEETS[number].zh
    draft, findings = read(workbook)
    assert findings == ()
    assert draft.registry == read_file(as_json(registry()), TODAY)[0].registry


def test_a_finding_names_sheet_row_column_letter_header_value_and_reason() -> None:
    workbook = as_workbook(registry())
    put(sheet(workbook, "企业"), "行政区划代码", "999999")
    (finding,) = read(workbook)[1]
    assert finding.reason == "region"
    assert finding.where == "企业 Enterprises, 第 2 行 row 2, D 列 column D「行政区划代码 / Region」"
    assert finding.value == "999999"


@pytest.mark.parametrize(
    ("value", "reason"), [("=1/0", "no_cached_value"), ("=A2", "no_cached_value"), ("#N/A", "formula_error")]
)
def test_a_formula_without_a_result_and_an_error_are_reported(value: str, reason: str) -> None:
    workbook = as_workbook(registry())
    put(sheet(workbook, "产品"), "型号", value)
    assert [(one.reason, "型号" in one.where) for one in read(workbook)[1]] == [(reason, True)]


def test_an_unknown_column_with_something_in_it_is_reported_once() -> None:
    workbook = as_workbook(registry())
    products = sheet(workbook, "产品")
    column = products.max_column + 1
    products.cell(1, column, "颜色")
    assert read(workbook)[1] == ()
    for row in (2, 3):
        products.cell(row, column, "青")
    findings = [one for one in read(workbook)[1] if one.reason == "unknown_column"]
    assert [(one.value, "K 列" in one.where or "column" in one.where) for one in findings] == [("颜色", True)]


def test_a_missing_column_is_named_and_not_once_for_every_row() -> None:
    workbook = as_workbook(registry())
    products = sheet(workbook, "产品")
    products.delete_cols(2)
    for _ in range(5):
        products.append([cell.value for cell in products[2]])
    findings = [one for one in read(workbook)[1] if one.reason == "missing_column"]
    assert len(findings) == 1
    assert "统一社会信用代码" in findings[0].text.zh


def test_a_column_that_stands_twice_is_reported() -> None:
    workbook = as_workbook(registry())
    products = sheet(workbook, "产品")
    products.cell(1, products.max_column + 1, "GTIN")
    assert "repeated_column" in {one.reason for one in read(workbook)[1]}


def test_an_unknown_sheet_is_reported_unless_it_is_empty_or_the_help() -> None:
    workbook = as_workbook(registry())
    workbook.create_sheet("Sheet1")
    workbook.create_sheet("说明").append(["怎样填写"])
    assert read(workbook)[1] == ()
    workbook["Sheet1"].append(["x"])
    assert [(one.reason, one.where) for one in read(workbook)[1]] == [("unknown_sheet", "Sheet1")]


def test_a_sheet_without_a_header_is_reported() -> None:
    workbook = as_workbook(registry())
    products = sheet(workbook, "产品")
    products.delete_rows(1)
    assert ("no_header", "产品 Products") in {(one.reason, one.where) for one in read(workbook)[1]}


def test_a_workbook_of_other_things_is_refused() -> None:
    workbook = Workbook()
    workbook.worksheets[0].append(["a", "b"])
    with pytest.raises(ImportRefused) as refused:
        read(workbook)
    assert "no_sheet" in refused.value.reasons


def test_the_empty_template_has_nothing_to_import() -> None:
    assert [one.reason for one in read_file(template(), TODAY)[1].all()] == ["empty"]


def test_an_english_figure_is_the_chinese_one_where_none_is_given() -> None:
    draft, _ = read_file(as_xlsx(registry()), TODAY)
    assert draft.registry.indicators[gtin()][0].standard_value.en == "≥ 60"


def test_every_field_of_every_record_has_a_column() -> None:
    for one in SHEETS:
        assert [field.name for field in one.fields] == sorted(
            (name for name in one.record.__struct_fields__ if not name.endswith("_developed")),  # made of their files
            key=[field.name for field in one.fields].index,
        )
    assert PRODUCTS.key == INDICATORS.key == "gtin"
