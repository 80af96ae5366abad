"""What an import changes, and what a scan shows of a product: the registry's two products. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from zpcode.rules.registry.layout import SHEETS, Sheet
from zpcode.rules.registry.records import Registry

NEW: Final = "new"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
REMOVED: Final = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One record that an import adds, changes or (in a product's lists) removes.

    `entity` is the sheet's plural, `key` the record's, with `#position` in a list counted from 1; `fields`
    holds (field, old, new) of a changed record.
    """

    entity: str
    key: str
    kind: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeCount:
    """How many records of a file are new, changed, unchanged; and how many it removes from lists."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, or with `dry_run` would do. `cards` are the GTINs whose card changed."""

    dry_run: bool
    counts: dict[str, ChangeCount]
    changes: tuple[Change, ...]
    cards: tuple[str, ...] = field(default=())


def changes(known: Registry, file: Registry) -> tuple[dict[str, ChangeCount], tuple[Change, ...]]:
    """The counts of each sheet, and every record that does not stay as it is, in the order of the sheets."""
    counts: dict[str, ChangeCount] = {}
    found: list[Change] = []
    for sheet in SHEETS:
        all_of_sheet = list(_of_sheet(sheet, known, file))
        kinds = [change.kind for change in all_of_sheet]
        counts[sheet.plural] = ChangeCount(*(kinds.count(kind) for kind in (NEW, CHANGED, UNCHANGED, REMOVED)))
        found += [change for change in all_of_sheet if change.kind != UNCHANGED]
    return counts, tuple(found)


def _of_sheet(sheet: Sheet, known: Registry, file: Registry) -> Iterator[Change]:
    before, after = getattr(known, sheet.plural), getattr(file, sheet.plural)
    for key, record in after.items():
        if not sheet.listed:
            yield _change(sheet.plural, key, before.get(key), record)
            continue
        old = before.get(key, ())
        for position in range(max(len(old), len(record))):
            pair = (rows[position] if position < len(rows) else None for rows in (old, record))
            yield _change(sheet.plural, f"{key}#{position + 1}", *pair)


def _change(entity: str, key: str, before: Any, after: Any) -> Change:
    if before is None:
        return Change(entity, key, NEW)
    if after is None:
        return Change(entity, key, REMOVED)
    names = (name for name in after.__struct_fields__ if getattr(before, name) != getattr(after, name))
    fields = tuple((name, plain(getattr(before, name)), plain(getattr(after, name))) for name in names)
    return Change(entity, key, CHANGED, fields) if fields else Change(entity, key, UNCHANGED)


def plain(value: Any) -> Any:
    """A field's value as JSON has it: dates as text, two languages as an object, for reports and the audit log."""
    return msgspec.to_builtins(value)
