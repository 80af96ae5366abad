"""The digests of the records that an import writes or confirms, for the audit log.

The newest digest of a record is taken for what the record has to be. So an import must not enter the digest of a field that it has
only found in the database, where somebody may have changed it past the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zpcode.rules.record_digest import RecordMismatch, mismatches
from zpcode.rules.registry import digests as rules
from zpcode.rules.registry.layout import SHEETS
from zpcode.rules.registry.reader import FileRecords, ImportFindings
from zpcode.rules.registry.records import Registry
from zpcode.store import record_log
from zpcode.store.database.session import Connection


@dataclass(frozen=True, slots=True)
class ImportedRecords:
    """A file, the stored records that it may affect, and these records after the import."""

    file: FileRecords
    stored: Registry
    after: Registry

    @property
    def partial(self) -> set[str]:
        """The names of the written records that the file has not, or not with all columns: the rest is taken from the database."""
        return set(_names(self)).difference(_whole(self.file))


def digests(imported: ImportedRecords) -> dict[str, str | None]:
    """The digests of the records of the file and of what follows from them, by name; None for pictures that are removed.

    Records that the import leaves as they are belong to them: the file confirms them. Stored pictures do only if they change.
    """
    names = set(_names(imported))
    pictures = {rules.name(column, gtin) for gtin in imported.file.registry.products for column in rules.PICTURES}
    before, after = rules.digests(imported.stored, pictures), rules.digests(imported.after, names | pictures)
    changed = {name for name in pictures if before.get(name) != after.get(name)}
    return {name: after.get(name) for name in sorted(names | changed)}


def _names(imported: ImportedRecords) -> Iterator[str]:
    """The names of the records of the file, and of the products that get a recognition; no import moves one to another product."""
    registry = imported.file.registry
    for plural in Registry.__struct_fields__:
        for key in getattr(registry, plural):
            yield rules.name(plural, key)
    for one in registry.recognitions.values():
        yield rules.name(rules.PRODUCTS, one.gtin)


def to_log(
    connection: Connection, imported: ImportedRecords, digests: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Those of these digests that the log does not have.

    A record without a first digest gets none from a part of it: that is what `zpcode audit adopt` is for.
    """
    logged = record_log.logged(connection, list(digests))
    new = {name: one for name, one in digests.items() if name not in logged or logged[name].digest != one}
    unlogged = set(rules.digests(imported.stored, imported.partial & new.keys())) - logged.keys()
    return {name: one for name, one in new.items() if name not in unlogged}


def check(connection: Connection, imported: ImportedRecords, findings: ImportFindings) -> None:
    """Add a finding for each record that the file has only in part and whose stored rest differs from the audit log."""
    stored = rules.digests(imported.stored, imported.partial)
    if not stored:
        return
    logged = record_log.logged(connection, list(stored))
    for wrong in mismatches(stored, logged, covered=record_log.is_covered(connection)):
        if wrong.is_alarming:
            _add(findings, wrong, imported.file)


def _whole(file: FileRecords) -> Iterator[str]:
    """The names of the records that the file has with all columns; lists always are."""
    for sheet in SHEETS:
        columns = {column.name for column in sheet.columns}
        for key in getattr(file.registry, sheet.plural):
            if sheet.listed or columns <= file.given[sheet.plural, key]:
                yield rules.name(sheet.plural, key)


def _add(findings: ImportFindings, wrong: RecordMismatch, file: FileRecords) -> None:
    where = wrong.name
    for sheet in SHEETS:
        location = file.locations.get((sheet.plural, wrong.name.partition(":")[2], 0))
        if location is not None and rules.name(sheet.plural, wrong.name.partition(":")[2]) == wrong.name:
            where = location.where()
    findings.add(
        "altered",
        f"数据库中的记录 {wrong.name} 与审计日志不符：请在文件中给出它的全部列（zpcode audit show --record {wrong.name}）",
        f"the stored record {wrong.name} differs from the audit log: give all of its columns in the file"
        f" (zpcode audit show --record {wrong.name})",
        where=where,
    )
