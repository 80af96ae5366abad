"""The high-water marks of the database, what is recorded of a database that is behind, and the gate that writers pass.

A process installs one gate on its engine (`install`). Every transaction that makes a number, an audit entry or a card
calls `require` before it does so. An engine without a gate, as tests of single services have, is not compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import Connection, Engine, bindparam, event, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from zpcode.rules.continuity import HIGHEST_MARK, BehindEvidence, DatabaseMarks, Marks
from zpcode.store.tables.codes import batch
from zpcode.store.tables.continuity import continuity, lost_batch, recovery

_GATE: Final = "continuity"
_CHECKED: Final = "continuity_checked"
SEQUENCES: Final = {
    "batch": "batch_number",
    "decision": "status_change_id_seq",
    "event": "trace_event_id_seq",
    "complaint": "complaint_id_seq",
    "step": "complaint_event_id_seq",
}
"""The sequence of each counter that has one."""
_ROWS: Final = {
    "batch": ("batch", "number"),
    "decision": ("status_change", "id"),
    "event": ("trace_event", "id"),
    "complaint": ("complaint", "id"),
    "step": ("complaint_event", "id"),
}
_HIGHEST: Final = "".join(
    f"(SELECT coalesce(max({column}), 0) FROM {table}) AS {kind}_row,"  # noqa: S608 - constant texts, see above
    f" (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {SEQUENCES[kind]}) AS {kind}_sequence, "
    for kind, (table, column) in _ROWS.items()
)
_MARKS: Final = text(
    f"SELECT c.installation, c.recoveries, c.evidence, c.doubted_since, c.head_key, h.revision, {_HIGHEST}"  # noqa: S608 - constant texts, see above
    " (SELECT id FROM audit ORDER BY id DESC LIMIT 1) AS audit,"
    " (SELECT hash FROM audit ORDER BY id DESC LIMIT 1) AS audit_hash,"
    " (SELECT json_object_agg(id, encode(hash, 'hex')) FROM audit WHERE id = ANY(:ids)) AS hashes,"
    " (SELECT json_object_agg(id, taken_in) FROM recovery) AS recovered"
    " FROM continuity c, card_head h"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))


class Gate(Protocol):
    """What a transaction passes before it makes a number, an audit entry or a card."""

    def check(self, connection: Connection, *, number: bool) -> None:
        """Raise DatabaseBehind if the database of this connection is behind. `number`: a batch number is about to be drawn."""
        ...

    def require_witness(self) -> None:
        """Raise Unavailable if no witness has ever answered."""
        ...

    def stale(self) -> None:
        """Read every witness again: there is a new connection to the database."""
        ...


def install(engine: Engine, gate: Gate) -> None:
    """Make every writing transaction of this engine pass the gate."""
    engine.update_execution_options(**{_GATE: gate})
    event.listen(engine, "connect", lambda *_: gate.stale())


def require(connection: Connection, *, number: bool = False) -> None:
    """Pass the gate of this engine, once in a transaction. Call it before the first number is taken.

    A session never changes its database within a transaction, so one comparison in a transaction is enough. `number`: a
    batch number is about to be drawn. Raises DatabaseBehind, and Unavailable if no witness answers where one must.
    """
    gate: Gate | None = connection.get_execution_options().get(_GATE)
    if gate is None:
        return
    present = connection.get_transaction()
    if connection.info.get(_CHECKED) is not present:
        gate.check(connection, number=number)
        connection.info[_CHECKED] = present
    elif number:
        gate.require_witness()


def exempt(connection: Connection) -> None:
    """Let this transaction pass without a comparison: it is the recovery that brings the database forward."""
    connection.info[_CHECKED] = connection.get_transaction()


def marks(connection: Connection, audit_ids: Collection[int] = ()) -> DatabaseMarks:
    """The marks of this database; with the hashes of these audit entries, those that exist."""
    possible = sorted({number for number in audit_ids if 0 < number <= HIGHEST_MARK})
    row = connection.execute(_MARKS, {"ids": possible}).one()
    common: dict[str, Any] = {
        "installation": row.installation,
        "recoveries": row.recoveries,
        "revision": int(row.revision),
        "audit": row.audit or 0,
        "audit_hash": "" if row.audit_hash is None else bytes(row.audit_hash).hex(),
    }
    rows: dict[str, Any] = {kind: int(getattr(row, f"{kind}_row")) for kind in _ROWS}
    assigned: dict[str, Any] = {kind: max(rows[kind], int(getattr(row, f"{kind}_sequence"))) for kind in _ROWS}
    return DatabaseMarks(
        reached=Marks(**common, **rows),
        assigned=Marks(**common, **assigned),
        hashes={int(number): hash_ for number, hash_ in (row.hashes or {}).items()},
        recovered=msgspec.convert(row.recovered or {}, dict[int, dict[str, Marks]], strict=False),
        evidence=msgspec.convert(row.evidence, tuple[BehindEvidence, ...]),
        doubted=row.doubted_since is not None,
        head_key=row.head_key,
    )


def record_behind(connection: Connection, evidence: Sequence[BehindEvidence], now: datetime) -> None:
    """Record that this database is behind, unless that is recorded already."""
    values = {"behind_since": now, "evidence": msgspec.to_builtins(list(evidence))}
    connection.execute(update(continuity).where(continuity.c.behind_since.is_(None)).values(values))


def record_doubt(connection: Connection, since: datetime | None) -> None:
    """Record since when a witness disagrees with this database; None: none does. Scans then do not believe Redis alone."""
    recorded = continuity.c.doubted_since
    changes = recorded.is_not(None) if since is None else recorded.is_(None)
    connection.execute(update(continuity).where(changes).values(doubted_since=since))


def record_head_key(connection: Connection, fingerprint: str) -> None:
    """Record under which key every head is written; empty: some have no valid code."""
    recorded = continuity.c.head_key
    connection.execute(update(continuity).where(recorded != fingerprint).values(head_key=fingerprint))


def batches_with_record(connection: Connection, numbers: Collection[int]) -> set[int]:
    """Those of these batch numbers whose batch exists, or is known as lost."""
    among = bindparam("numbers", sorted(numbers), ARRAY(BigInteger))
    existing = select(batch.c.number).where(batch.c.number == func.any(among))
    lost = select(lost_batch.c.number).where(lost_batch.c.number == func.any(among))
    return {int(number) for number in connection.execute(existing.union(lost)).scalars()}


def add_recovery(
    connection: Connection, *, at: datetime, actor: str, audit_id: int, taken_in: Mapping[str, Marks]
) -> int:
    """Record a recovery: the database is not behind any more. Returns its number, which no witness and no row has yet."""
    own = int(connection.execute(select(continuity.c.recoveries).with_for_update()).scalar_one())
    newest = int(connection.execute(select(func.coalesce(func.max(recovery.c.id), 0))).scalar_one())
    number = max([own, newest, *(marks.recoveries for marks in taken_in.values())]) + 1
    values: dict[str, Any] = {"id": number, "at": at, "actor": actor, "audit": audit_id}
    connection.execute(insert(recovery).values(**values, taken_in=msgspec.to_builtins(dict(taken_in))))
    connection.execute(update(continuity).values(recoveries=number, behind_since=None, evidence=[]))
    return number
