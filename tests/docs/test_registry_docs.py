"""docs/registry.md names every sheet, field, choice and limit; a new one must be documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from zpcode.rules.registry.cell_values import MAX_CHARACTERS
from zpcode.rules.registry.layout import SHEETS, Sheet
from zpcode.services.registry.files import archive, document, xml_scan


@pytest.fixture(scope="module")
def text() -> str:
    """The document."""
    return (Path(__file__).resolve().parents[2] / "docs" / "registry.md").read_text("utf-8")


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.plural)
def test_every_field_of_every_sheet_is_in_its_table(text: str, sheet: Sheet) -> None:
    start = text.index(f"### {sheet.zh} {sheet.en} (`{sheet.plural}`)")
    section = text[start : text.find("\n#", start + 3)]
    rows = {row.split("|")[1].strip(): row for row in section.splitlines() if row.startswith("| `")}
    assert list(rows) == [f"`{field.name}`" for field in sheet.fields]
    for field in sheet.fields:
        cells = [cell.strip() for cell in rows[f"`{field.name}`"].split("|")]
        assert cells[2:5] == [field.zh, field.en, "yes" if field.required else ""]
        for choice in field.choices:
            assert f"`{choice.code}` {choice.zh}" in rows[f"`{field.name}`"]


def test_every_limit_is_on_the_page(text: str) -> None:
    figures = (
        archive.MAX_FILE // 2**20, archive.MAX_UNPACKED // 2**20, archive.MAX_MEMBERS, archive.MAX_RATIO, xml_scan.MAX_ROWS,
        xml_scan.MAX_COLUMNS, xml_scan.MAX_ELEMENTS, document.MAX_VALUES, MAX_CHARACTERS,
    )  # fmt: skip
    for figure in figures:
        assert f"{figure:,}".replace(",", " ") in text
