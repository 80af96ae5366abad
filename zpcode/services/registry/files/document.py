"""Read a registry file in JSON as rows of cells. Findings name their location by JSON pointer (RFC 6901).

The file is one object with a list for each entity, named as in `zpcode.rules.registry.layout`. A product may contain its
recognitions, indicators, commitments and claims, which then have no GTIN. A text in two languages is an object
{"zh": …, "en": …}; a plain text is Chinese, or a figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from zpcode.errors import Findings, refusal
from zpcode.rules.registry.layout import CLAIMS, COMMITMENTS, INDICATORS, PRODUCTS, RECOGNITIONS, SHEETS, Field, Sheet
from zpcode.rules.registry.reader import SheetRow, UnreadableCell, shown
from zpcode.services.registry.files.archive import MAX_FILE, too_large
from zpcode.services.registry.files.xml_scan import MAX_ROWS

MAX_VALUES: Final = 2_000_000
_NESTED: Final = {sheet.plural: sheet for sheet in (RECOGNITIONS, INDICATORS, COMMITMENTS, CLAIMS)}


@dataclass(frozen=True, slots=True)
class Pointer:
    """The location of one record: a JSON pointer."""

    path: str

    def where(self, column: str = "") -> str:
        """The record, or one member of it: `/products/0/name/zh`."""
        return self.path + "".join(f"/{step}" for step in column.split(".") if step)


def rows(data: bytes, findings: Findings) -> list[SheetRow]:
    """All records of a JSON file. Raises Refused if it is not JSON, is too large or has another structure."""
    top = _decoded(data)
    sheets = {sheet.plural: sheet for sheet in SHEETS}
    rows: list[SheetRow] = []
    for name, items in top.items():
        if name not in sheets:
            _unknown(findings, f"/{_step(name)}")
        elif isinstance(items, list):
            rows += _records(sheets[name], items, f"/{name}", findings)
        else:
            _not_a_list(findings, f"/{name}")
    return rows


def _decoded(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_FILE:
        raise too_large()
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_VALUES:
        raise refusal("too_much", f"文件超过 {MAX_VALUES} 个值", f"more than {MAX_VALUES} values in the file")
    try:
        top = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise refusal("not_json", "不是有效的 JSON（UTF-8）", "not valid JSON in UTF-8") from error
    if not isinstance(top, dict):
        raise refusal("not_json", "JSON 的最外层应为对象", "the JSON has to be one object")
    return top


def _records(
    sheet: Sheet, items: list[Any], path: str, findings: Findings, parent: object = None
) -> Iterator[SheetRow]:
    if len(items) > MAX_ROWS:
        raise refusal("too_much", f"每种记录最多 {MAX_ROWS} 条", f"at most {MAX_ROWS} records of a kind")
    for index, item in enumerate(items):
        location = Pointer(f"{path}/{index}")
        if isinstance(item, dict):
            cells = _cells(sheet, item, location, findings, parent)
            yield SheetRow(sheet, location, cells, frozenset(cells))
            if sheet is PRODUCTS:
                yield from _nested(item, location, findings)
        else:
            findings.add(
                "shape", "这里应为对象", "an object is expected here", where=location.where(), value=shown(item)
            )


def _nested(product: dict[str, Any], location: Pointer, findings: Findings) -> Iterator[SheetRow]:
    for name, sheet in _NESTED.items():
        items = product.get(name, [])
        if isinstance(items, list):
            yield from _records(
                sheet, items, f"{location.path}/{name}", findings, product.get("gtin") or UnreadableCell()
            )
        else:
            _not_a_list(findings, f"{location.path}/{name}")


def _cells(
    sheet: Sheet, item: dict[str, Any], location: Pointer, findings: Findings, parent: object
) -> dict[str, object]:
    fields = {one.name: one for one in sheet.fields}
    cells: dict[str, object] = {}
    for name, value in item.items():
        if name in fields and not (parent is not None and name == "gtin"):
            cells.update(_cell(fields[name], value, location, findings))
        elif not (sheet is PRODUCTS and name in _NESTED):
            _unknown(findings, location.where(_step(name)))
    return cells if parent is None else {**cells, "gtin": parent}


def _cell(one: Field, value: Any, location: Pointer, findings: Findings) -> dict[str, object]:
    if not one.bilingual:
        return {one.name: value}
    if not isinstance(value, dict):
        return {f"{one.name}.zh": value}
    for language in value:
        if language not in {"zh", "en"}:
            _unknown(findings, location.where(f"{one.name}.{_step(language)}"))
    return {f"{one.name}.{language}": value.get(language) for language in ("zh", "en")}


def _step(name: str) -> str:
    return shown(name).replace("~", "~0").replace("/", "~1")


def _unknown(findings: Findings, where: str) -> None:
    findings.add(
        "unknown_member",
        "未知的成员，请更正名称或删除",
        "an unknown member; correct its name or remove it",
        where=where,
    )


def _not_a_list(findings: Findings, where: str) -> None:
    findings.add("shape", "这里应为列表", "a list is expected here", where=where)
