"""From rows of cells to records: what a registry file says, before it is compared with anything.

A row is a sheet, a place and raw cells by column name; workbook and JSON readers both produce them. A row
with a wrong cell yields its findings and no record, but its key is remembered as spoiled, so that one
mistake is not reported again by every record that refers to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Protocol

import msgspec

from zpcode.errors import Finding, Findings, Refused, Text
from zpcode.rules.registry.cell_values import clean, is_blank, read
from zpcode.rules.registry.layout import CellKind, Field, Sheet
from zpcode.rules.registry.records import Record, Registry
from zpcode.wire.vocabulary import Bilingual

MAX_FINDINGS: Final = 2000
_CHINESE = re.compile("[\u3400-\u9fff]")
MAX_LIST: Final = 200  # rows of one product on one sheet


class RowLocation(Protocol):
    """Where a row stands, in the reader's terms."""

    def where(self, column: str = "") -> str:
        """The row, or one column of it: `name`, or `name.zh` where there are two languages."""
        ...


class Spoiled:
    """A cell that could not be read and has been reported already."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet: raw cells by column name, blank ones left out. `given` are the columns there are."""

    sheet: Sheet
    place: RowLocation
    cells: Mapping[str, object]
    given: frozenset[str]


@dataclass(slots=True)
class ImportFindings(Findings):
    """Findings of a whole file, the first 2000 in full: a file that is wrong throughout stays readable."""

    beyond: int = 0

    def add(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Note one thing that is wrong, or count it where there are too many already."""
        if len(self.items) < MAX_FINDINGS:
            Findings.add(self, reason, zh, en, where=where, value=value)
        else:
            self.beyond += 1

    def all(self) -> tuple[Finding, ...]:
        """The findings; the last one says how many more there are."""
        if not self.beyond:
            return tuple(self.items)
        more = Text(f"另有 {self.beyond} 处问题未列出", f"{self.beyond} more findings are not listed")
        return (*self.items, Finding("more", more))


@dataclass(slots=True)
class Draft:
    """What a file says: its records, where each stands, and the keys whose rows could not be read.

    Places are found under (sheet, key, 0) or, for lists of a product, (sheet, GTIN, index). `given` says of
    a record which columns the file has at all.
    """

    registry: Registry = field(default_factory=Registry)
    places: dict[tuple[str, str, int], RowLocation] = field(default_factory=dict)
    spoiled: set[tuple[str, str]] = field(default_factory=set)
    given: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)


def draft(rows: Iterable[SheetRow], findings: Findings, today: date) -> Draft:
    """All rows as records. Whatever is wrong with a single row or a repeated key goes to `findings`."""
    found = Draft()
    for row in rows:
        values, right = _values(row, findings, today)
        key = values.get(row.sheet.key)
        if right:
            _keep(found, row, row.sheet.record(**values), findings)
        elif isinstance(key, str):
            found.spoiled.add((row.sheet.plural, key))
    return found


def complete(draft: Draft, known: Registry) -> None:
    """Fill in, from the known record of the same key, the columns that the file does not have at all.

    A column that is there and blank means blank; a file without the column says nothing of it.
    """
    for (plural, key), given in draft.given.items():
        before = getattr(known, plural).get(key)
        if before is not None:
            records: dict[str, Any] = getattr(draft.registry, plural)
            records[key] = msgspec.structs.replace(records[key], **_not_given(given, before, records[key]))


def _not_given(given: frozenset[str], before: Any, after: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name in before.__struct_fields__:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, Bilingual):
            zh, en = (new.zh if f"{name}.zh" in given else old.zh), (new.en if f"{name}.en" in given else old.en)
            values[name] = Bilingual(zh, en)
        elif name not in given:
            values[name] = old
    return values


def _values(row: SheetRow, findings: Findings, today: date) -> tuple[dict[str, Any], bool]:
    values: dict[str, Any] = {}
    before = len(findings.items), getattr(findings, "beyond", 0)
    right = True
    for one in row.sheet.fields:
        cells = {column.name: _cell(row, one, column.name, findings, today) for column in one.columns}
        right = right and not any(isinstance(cell, Spoiled) for cell in cells.values())
        value = _whole(one, cells)
        if value is not None:
            values[one.name] = value
        elif one.required and not any(isinstance(cell, Spoiled) for cell in cells.values()):
            _missing(row, one, findings)
    return values, right and before == (len(findings.items), getattr(findings, "beyond", 0))


def _cell(row: SheetRow, one: Field, name: str, findings: Findings, today: date) -> object:
    raw = row.cells.get(name)
    if isinstance(raw, Spoiled) or is_blank(raw):
        return raw if isinstance(raw, Spoiled) else None
    try:
        return read(one, raw, today)
    except Refused as refused:
        for found in refused.findings:
            findings.add(found.reason, found.text.zh, found.text.en, where=row.place.where(name), value=shown(raw))
        return Spoiled()


def shown(raw: object) -> str:
    """What stood in a cell, fit for a message: no control characters, nothing huge spelt out."""
    if isinstance(raw, (list, dict)):
        return type(raw).__name__
    return clean(raw[:200]) if isinstance(raw, str) else f"{raw!s:.80}"


def _whole(one: Field, cells: Mapping[str, object]) -> object:
    """The field's value from its columns, or None where it is blank or spoiled."""
    if not one.bilingual:
        value = cells[one.name]
        return None if isinstance(value, Spoiled) or value in ("", ()) else value
    zh, en = cells[f"{one.name}.zh"], cells[f"{one.name}.en"]
    if not isinstance(zh, str) or not zh or isinstance(en, Spoiled):
        return Bilingual("", en) if isinstance(en, str) and en and not one.required and zh in (None, "") else None
    english = en if isinstance(en, str) else ""
    if not english and one.kind is CellKind.VALUE and not _CHINESE.search(zh):
        english = zh  # a figure is the same in every language
    return Bilingual(zh, english)


def _missing(row: SheetRow, one: Field, findings: Findings) -> None:
    findings.add(
        "missing",
        f"“{one.zh}”必须填写",
        f"{one.en} has to be filled in",
        where=row.place.where(one.columns[0].name),
    )


def _keep(found: Draft, row: SheetRow, record: Record, findings: Findings) -> None:
    sheet, key = row.sheet, getattr(record, row.sheet.key)
    kept: dict[str, Any] = getattr(found.registry, sheet.plural)
    if sheet.listed:
        _append(found, row, kept, record, findings)
        return
    if key in kept:
        _repeated(found, row, key, findings)
        return
    kept[key] = record
    found.places[sheet.plural, key, 0] = row.place
    found.given[sheet.plural, key] = row.given


def _append(found: Draft, row: SheetRow, kept: dict[str, Any], record: Record, findings: Findings) -> None:
    key = getattr(record, row.sheet.key)
    before = kept.get(key, ())
    if len(before) >= MAX_LIST:
        zh, en = f"一个产品最多 {MAX_LIST} 行", f"at most {MAX_LIST} rows for one product"
        findings.add("too_many", zh, en, where=row.place.where(row.sheet.key), value=key)
        return
    found.places[row.sheet.plural, key, len(before)] = row.place
    kept[key] = (*before, record)


def _repeated(found: Draft, row: SheetRow, key: str, findings: Findings) -> None:
    first = found.places[row.sheet.plural, key, 0].where()
    findings.add(
        "repeated",
        f"重复：同一“{row.sheet.zh}”已在 {first} 出现",
        f"repeated: the same key stands already at {first}",
        where=row.place.where(row.sheet.key),
        value=key,
    )
