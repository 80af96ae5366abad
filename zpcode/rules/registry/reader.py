"""Read the rows of a registry file into records, before they are compared with the registry.

A row is a sheet, a location and raw cells by column name. The readers of workbooks and JSON both produce rows. A row
with a wrong cell gives findings and no record. Its key is kept in `unreadable`, so that records which refer to it do not
report the same mistake again.
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
    """The location of a row in its file, for messages."""

    def where(self, column: str = "") -> str:
        """The row, or one column of it: `name`, or `name.zh` for a field in two languages."""
        ...


class UnreadableCell:
    """A cell that could not be read; its finding is recorded already."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet: raw cells by column name, without blank ones. `given` are the columns of the sheet."""

    sheet: Sheet
    location: RowLocation
    cells: Mapping[str, object]
    given: frozenset[str]


@dataclass(slots=True)
class ImportFindings(Findings):
    """The findings of a whole file. After the first 2000, further findings are only counted."""

    beyond: int = 0

    def add(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Add one finding, or count it if there are too many."""
        if len(self.items) < MAX_FINDINGS:
            Findings.add(self, reason, zh, en, where=where, value=value)
        else:
            self.beyond += 1

    def all(self) -> tuple[Finding, ...]:
        """The findings; the last one says how many more there are, if any."""
        if not self.beyond:
            return tuple(self.items)
        more = Text(f"另有 {self.beyond} 处问题未列出", f"{self.beyond} more findings are not listed")
        return (*self.items, Finding("more", more))


@dataclass(slots=True)
class FileRecords:
    """The content of a file: its records, their locations, and the keys of unreadable rows.

    `locations` has the keys (sheet, key, 0) or, for lists of a product, (sheet, GTIN, index). `given` has for each record
    the columns that the file has.
    """

    registry: Registry = field(default_factory=Registry)
    locations: dict[tuple[str, str, int], RowLocation] = field(default_factory=dict)
    unreadable: set[tuple[str, str]] = field(default_factory=set)
    given: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)


def read_rows(rows: Iterable[SheetRow], findings: Findings, today: date) -> FileRecords:
    """All rows as records. Mistakes within a row and repeated keys are added to `findings`."""
    file = FileRecords()
    for row in rows:
        values, complete = _values(row, findings, today)
        key = values.get(row.sheet.key)
        if complete:
            _keep(file, row, row.sheet.record(**values), findings)
        elif isinstance(key, str):
            file.unreadable.add((row.sheet.plural, key))
    return file


def fill_missing_columns(file: FileRecords, stored: Registry) -> None:
    """Copy the columns that the file does not have from the stored record with the same key.

    A blank cell means that the value is blank. A missing column means that the value stays as it is.
    """
    for (plural, key), given in file.given.items():
        before = getattr(stored, plural).get(key)
        if before is not None:
            records: dict[str, Any] = getattr(file.registry, plural)
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
    readable = True
    for one in row.sheet.fields:
        cells = {column.name: _cell(row, one, column.name, findings, today) for column in one.columns}
        readable = readable and not any(isinstance(cell, UnreadableCell) for cell in cells.values())
        value = _whole(one, cells)
        if value is not None:
            values[one.name] = value
        elif one.required and not any(isinstance(cell, UnreadableCell) for cell in cells.values()):
            _missing(row, one, findings)
    return values, readable and before == (len(findings.items), getattr(findings, "beyond", 0))


def _cell(row: SheetRow, one: Field, name: str, findings: Findings, today: date) -> object:
    raw = row.cells.get(name)
    if isinstance(raw, UnreadableCell) or is_blank(raw):
        return raw if isinstance(raw, UnreadableCell) else None
    try:
        return read(one, raw, today)
    except Refused as refused:
        for one_finding in refused.findings:
            findings.add(
                one_finding.reason,
                one_finding.text.zh,
                one_finding.text.en,
                where=row.location.where(name),
                value=shown(raw),
            )
        return UnreadableCell()


def shown(raw: object) -> str:
    """The content of a cell for a message: without control characters, and shortened."""
    if isinstance(raw, (list, dict)):
        return type(raw).__name__
    return clean(raw[:200]) if isinstance(raw, str) else f"{raw!s:.80}"


def _whole(one: Field, cells: Mapping[str, object]) -> object:
    """The value of a field from its columns; None if it is blank or unreadable."""
    if not one.bilingual:
        value = cells[one.name]
        return None if isinstance(value, UnreadableCell) or value in ("", ()) else value
    zh, en = cells[f"{one.name}.zh"], cells[f"{one.name}.en"]
    if not isinstance(zh, str) or not zh or isinstance(en, UnreadableCell):
        return Bilingual("", en) if isinstance(en, str) and en and not one.required and zh in (None, "") else None
    english = en if isinstance(en, str) else ""
    if not english and one.kind is CellKind.VALUE and not _CHINESE.search(zh):
        english = zh  # a figure is the same in every language
    return Bilingual(zh, english)


def _missing(row: SheetRow, one: Field, findings: Findings) -> None:
    findings.add(
        "missing",
        f"“{one.zh}”必须填写",
        f"{one.en} is required",
        where=row.location.where(one.columns[0].name),
    )


def _keep(file: FileRecords, row: SheetRow, record: Record, findings: Findings) -> None:
    sheet, key = row.sheet, getattr(record, row.sheet.key)
    kept: dict[str, Any] = getattr(file.registry, sheet.plural)
    if sheet.listed:
        _append(file, row, kept, record, findings)
        return
    if key in kept:
        _repeated(file, row, key, findings)
        return
    kept[key] = record
    file.locations[sheet.plural, key, 0] = row.location
    file.given[sheet.plural, key] = row.given


def _append(file: FileRecords, row: SheetRow, kept: dict[str, Any], record: Record, findings: Findings) -> None:
    key = getattr(record, row.sheet.key)
    before = kept.get(key, ())
    if len(before) >= MAX_LIST:
        zh, en = f"一个产品最多 {MAX_LIST} 行", f"at most {MAX_LIST} rows for one product"
        findings.add("too_many", zh, en, where=row.location.where(row.sheet.key), value=key)
        return
    file.locations[row.sheet.plural, key, len(before)] = row.location
    kept[key] = (*before, record)


def _repeated(file: FileRecords, row: SheetRow, key: str, findings: Findings) -> None:
    first = file.locations[row.sheet.plural, key, 0].where()
    findings.add(
        "repeated",
        f"重复：同一“{row.sheet.zh}”已在 {first} 出现",
        f"repeated: the same key is already at {first}",
        where=row.location.where(row.sheet.key),
        value=key,
    )
