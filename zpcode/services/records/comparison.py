"""Compare the stored records with the digests in the audit log, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from zpcode.rules.record_digest import RecordMismatch, mismatches
from zpcode.services.records.kinds import RecordKind
from zpcode.store import record_log
from zpcode.store.database.session import Connection


@dataclass(frozen=True, slots=True)
class ComparedPage:
    """The names of up to 500 compared records, and those that differ."""

    names: Sequence[str]
    wrong: Sequence[RecordMismatch]


def compare(connection: Connection, kind: RecordKind, *, covered: bool) -> Iterator[ComparedPage]:
    """Compare all records of a kind: first those that are stored, then those that are logged and not stored.

    `covered`: each record needs a digest (`record_log.is_covered`).
    """
    present = 0
    for keys in kind.keys(connection):
        stored = kind.read(connection, keys)
        logged = record_log.logged(connection, list(stored))
        present += sum(entry.digest is not None for entry in logged.values())
        yield ComparedPage(list(stored), list(mismatches(stored, logged, covered=covered)))
    if record_log.count_of(connection, kind.kinds) > present:
        yield from _missing(connection, kind)


def _missing(connection: Connection, kind: RecordKind) -> Iterator[ComparedPage]:
    for names in record_log.names_of(connection, kind.kinds):
        stored = kind.stored(connection, names)
        if absent := [name for name in names if name not in stored]:
            logged = record_log.logged(connection, absent)
            yield ComparedPage((), [RecordMismatch(name, "missing", logged.get(name)) for name in absent])


def altered(connection: Connection, kind: RecordKind, names: Collection[str]) -> set[str]:
    """Those of these records of a kind that differ from the log; one that waits for its first digest does not."""
    covered = record_log.is_covered(connection)
    wrong = mismatches(kind.stored(connection, names), record_log.logged(connection, names), covered=covered)
    return {one.name for one in wrong if one.is_alarming}
