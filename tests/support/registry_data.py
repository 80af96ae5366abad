"""A small registry for tests: one of everything, valid; tests change what they test."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

from openpyxl import Workbook
from stdnum import ean
from stdnum.cn import uscc as stdnum_uscc

from zpcode.rules.registry.layout import SHEETS, Sheet

BODY = "ZJ-01"


def uscc(number: int = 1) -> str:
    """A 统一社会信用代码 with a right check character."""
    stem = f"91330100MA2T{number:05d}"
    return stem + stdnum_uscc.calc_check_digit(stem)


def gtin(number: int = 1) -> str:
    """A GTIN-14 of GS1's demonstration range."""
    stem = f"950{number:09d}"
    return f"0{stem}{ean.calc_check_digit(stem)}"


def registry(number: int = 1) -> dict[str, list[dict[str, Any]]]:
    """One enterprise, standard, body, certificate, and one recognised product with its lists."""
    own, product = uscc(number), gtin(number)
    standard, certificate = f"T/ZZB {number:04d}-2023", f"ZM-{number:04d}"
    return {
        "enterprises": [_enterprise(own)],
        "standards": [_standard(standard, f"ZZB T{number:04d}-2023")],
        "bodies": [{"code": BODY, "name": {"zh": "钱江认证中心", "en": "Qianjiang Certification"}}],
        "certificates": [_certificate(certificate, own)],
        "products": [_product(product, own, f"QC-{number}", standard, certificate)],
        "recognitions": [_recognition(f"PZB-{number:04d}", product, certificate)],
        "indicators": [_indicator(product)],
        "commitments": _commitments(product),
        "claims": [{"gtin": product, "kind": "green", "text": "绿色产品", "evidence": "GP-1"}],
    }


def _enterprise(own: str) -> dict[str, Any]:
    return {
        "uscc": own,
        "name": {"zh": "杭州青澄机械有限公司", "en": "Hangzhou Qingcheng Machinery"},
        "region": "330110",
        "industry": "C3523",
        "phone": "0571-8800 1200",
        "email": "qc@qingcheng.example",
        "website": "https://qingcheng.example",
        "story": {"zh": "二十年只做螺杆。", "en": "Twenty years of nothing but screws."},
    }


def _standard(number: str, registration: str) -> dict[str, Any]:
    return {
        "number": number,
        "title": {"zh": "双金属螺杆", "en": "Bimetallic screws"},
        "registration": registration,
        "kind": "product",
        "status": "in_force",
        "version": "2023",
        "in_force_from": "2023-06-01",
    }


def _certificate(number: str, own: str) -> dict[str, Any]:
    return {
        "number": number,
        "uscc": own,
        "body_code": BODY,
        "kind": "zhejiang_made",
        "valid_from": "2024-01-01",
        "valid_to": "2029-12-31",
    }


def _product(product: str, own: str, model: str, standard: str, certificate: str) -> dict[str, Any]:
    return {
        "gtin": product,
        "uscc": own,
        "name": {"zh": "双金属螺杆", "en": "Bimetallic screw"},
        "model": model,
        "standards": [standard],
        "certificates": [certificate],
    }


def _recognition(number: str, product: str, certificate: str) -> dict[str, Any]:
    return {
        "number": number,
        "gtin": product,
        "path": "certification",
        "valid_from": "2024-03-01",
        "valid_to": "2028-02-29",
        "certificate": certificate,
    }


def _indicator(product: str) -> dict[str, Any]:
    return {
        "gtin": product,
        "name": {"zh": "表面硬度", "en": "Surface hardness"},
        "direction": "ge",
        "unit": "HRC",
        "product_value": "62",
        "standard_value": "≥ 60",
        "national_value": "≥ 55",
    }


def _commitments(product: str) -> list[dict[str, Any]]:
    return [
        {"gtin": product, "kind": "first_responsibility", "text": "谁销售谁负责"},
        {"gtin": product, "kind": "hotline", "text": "工作日接听", "phone": "400-800-1200"},
    ]


def as_json(content: dict[str, list[dict[str, Any]]]) -> bytes:
    """A registry as a JSON file."""
    return json.dumps(content, ensure_ascii=False).encode()


def cells(sheet: Sheet, record: dict[str, Any]) -> list[Any]:
    """A record's cells in the order of the sheet's columns."""
    row: list[Any] = []
    for column in sheet.columns:
        name, _, language = column.name.partition(".")
        value = record.get(name)
        if isinstance(value, dict):
            value = value.get(language)
        elif language == "en":
            value = None
        row.append("; ".join(value) if isinstance(value, list) else value)
    return row


def as_workbook(content: dict[str, list[dict[str, Any]]]) -> Workbook:
    """A registry as a workbook with the template's sheets and headers."""
    workbook = Workbook()
    workbook.remove(workbook.worksheets[0])
    for sheet in SHEETS:
        worksheet = workbook.create_sheet(sheet.title)
        worksheet.append([f"{column.zh} / {column.en}" for column in sheet.columns])
        for record in content.get(sheet.plural, []):
            worksheet.append(cells(sheet, record))
    return workbook


def saved(workbook: Workbook) -> bytes:
    """A workbook as a file."""
    target = BytesIO()
    workbook.save(target)
    return target.getvalue()


def as_xlsx(content: dict[str, list[dict[str, Any]]]) -> bytes:
    """A registry as an .xlsx file."""
    return saved(as_workbook(content))
