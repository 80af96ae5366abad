"""What an import changes: the comparison of a file with the stored registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    `entity` is the plural of the sheet. `key` is the key of the record; in a list `#position` follows, counted from 1.
    `fields` has (field, old, new) of a changed record.
    """

    entity: str
    key: str
    kind: str
    fields: tuple[tuple[str, Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeCount:
    """The numbers of new, changed and unchanged records of a file, and of records removed from lists."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The effect of an import; with `dry_run`, of an import that was not carried out.

    `cards` are the GTINs of changed cards. `withheld` are the GTINs of cards that stay as they are although the import reaches them,
    with the names of the records that differ from the audit log and are not in the file.
    """

    dry_run: bool
    counts: dict[str, ChangeCount]
    changes: tuple[Change, ...]
    cards: tuple[str, ...] = ()
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def changes(stored: Registry, file: Registry) -> tuple[dict[str, ChangeCount], tuple[Change, ...]]:
    """The counts of each sheet, and all changes in the order of the sheets."""
    counts: dict[str, ChangeCount] = {}
    changed: list[Change] = []
    for sheet in SHEETS:
        all_of_sheet = list(_of_sheet(sheet, stored, file))
        kinds = [change.kind for change in all_of_sheet]
        counts[sheet.plural] = ChangeCount(*(kinds.count(kind) for kind in (NEW, CHANGED, UNCHANGED, REMOVED)))
        changed += [change for change in all_of_sheet if change.kind != UNCHANGED]
    return counts, tuple(changed)


def _of_sheet(sheet: Sheet, stored: Registry, file: Registry) -> Iterator[Change]:
    before, after = getattr(stored, sheet.plural), getattr(file, sheet.plural)
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
    """The value of a field in JSON, for reports and the audit log: dates as text, two languages as an object."""
    return msgspec.to_builtins(value)
