"""`zpcode audit adopt`: enter digests of stored records into the audit log, in the name of the operator.

Once after an upgrade, for all records that are older than the digests. For a single record that differs from the log, if the operator
has made sure that the database is right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from zpcode.errors import Findings, NotFound, Text
from zpcode.rules.access import Caller
from zpcode.rules.record_digest import ADOPT, ALL, COVERED, mismatches
from zpcode.services.records import kinds
from zpcode.services.records.kinds import RecordKind
from zpcode.store import audit, record_log
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.monitoring import integrity
from zpcode.store.record_log import NewEntry
from zpcode.store.registry import records as registry

MAX_REASON: Final = 500


def adopt_uncovered(engine: Engine, *, caller: Caller, now: datetime) -> int:
    """Enter the digests of all records that have none, unless each record needs one already; return how many.

    One transaction for 500 records; an interrupted run is continued by the next. Raises Unavailable.
    """
    count = 0
    with integrity.snapshot(engine) as listing:
        if record_log.is_covered(listing):
            return 0
        for kind in kinds.EVERY:
            for keys in kind.keys(listing):
                with transaction(engine) as connection:
                    count += _adopt_page(connection, kind, keys, NewEntry(now, caller.name, ADOPT, ALL))
    with transaction(engine) as connection:
        record_log.append(connection, {}, NewEntry(now, caller.name, COVERED, ALL, {"adopted": count}))
    return count


def _adopt_page(connection: Connection, kind: RecordKind, keys: Collection[str], entry: NewEntry) -> int:
    _lock(connection)
    stored = kind.read(connection, keys)
    wrong = mismatches(stored, record_log.logged(connection, list(stored)), covered=False)
    adopted: dict[str, str | None] = {one.name: stored[one.name] for one in wrong if not one.is_alarming}
    if adopted:
        record_log.append(connection, adopted, entry)
    return len(adopted)


def adopt_named(engine: Engine, names: Sequence[str], reason: str, *, caller: Caller, now: datetime) -> int:
    """Enter the digests of these records as they are stored; of a record that is gone, that it is removed. Return how many differed.

    Raises Refused without a reason (1 … 500 characters), NotFound for a name that neither the database nor the log has.
    """
    _check(reason)
    with transaction(engine) as connection:
        _lock(connection)
        adopted = {name: _present(connection, name) for name in dict.fromkeys(names)}
        logged = record_log.logged(connection, list(adopted))
        for name, digest in adopted.items():
            if digest is None and name not in logged:
                raise NotFound(Text(f"没有记录 {name[:80]}", f"there is no record {name[:80]}"))
        differing = {name: one for name, one in adopted.items() if name not in logged or logged[name].digest != one}
        if differing:
            record_log.append(connection, differing, NewEntry(now, caller.name, ADOPT, ALL, {"reason": reason.strip()}))
    return len(differing)


def _lock(connection: Connection) -> None:
    """Let nobody else write a record and its entry meanwhile."""
    registry.lock_imports(connection)
    audit.lock(connection)


def _present(connection: Connection, name: str) -> str | None:
    """The digest of a stored record; None if it is not there."""
    kind = next((one for one in kinds.EVERY if name.partition(":")[0] in one.kinds), None)
    return None if kind is None else kind.stored(connection, [name]).get(name)


def _check(reason: str) -> None:
    findings = Findings()
    if not 1 <= len(reason.strip()) <= MAX_REASON:
        findings.add(
            "reason",
            f"请说明理由（1 至 {MAX_REASON} 字）：--reason",
            f"say why (1 to {MAX_REASON} characters): --reason",
            where="reason",
        )
    findings.refuse("未登记任何摘要", "no digest was entered")
