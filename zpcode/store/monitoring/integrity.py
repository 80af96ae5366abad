"""The queries of `zpcode fsck`: whole tables in one snapshot, and rows that contradict each other.

Nothing here writes. Every query is streamed, paged by key or limited, so its memory does not grow with the tables. Its
time does, so the time limit for statements does not apply here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, exists, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, String

from zpcode.rules.access import Caller, Role
from zpcode.rules.audit import RECOVERY, Entry
from zpcode.rules.batches.batch import Batch
from zpcode.store import batches
from zpcode.store.cards import Card
from zpcode.store.database.session import transaction
from zpcode.store.status import NOTICE
from zpcode.store.tables.access import audit
from zpcode.store.tables.codes import card, idempotency, item_history
from zpcode.store.tables.registry import enterprise

_EVERYBODY = Caller(Role.OPERATOR, "*", "fsck")
_CHUNK = 500


def remove_time_limit(engine: Engine) -> None:
    """Remove the time limit for statements on this engine while the server is alive. Not for a service."""
    engine.get_execution_options()["liveness"].statement = math.inf


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction that sees one moment of the database, without a time limit. Raises Unavailable."""
    read_only = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with transaction(read_only) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        yield connection


def every_batch(connection: Connection) -> Iterator[list[Batch]]:
    """All batches, newest first, 500 at a time."""
    before: int | None = None
    while chunk := batches.listing(connection, _EVERYBODY, before, _CHUNK):
        yield chunk
        before = chunk[-1].number


def last_number(connection: Connection) -> int:
    """The highest batch number ever used; 0 before the first."""
    row = connection.execute(text("SELECT last_value, is_called FROM batch_number")).one()
    return int(row.last_value) if row.is_called else 0


def lost_numbers_astray(connection: Connection, last: int, limit: int) -> list[int]:
    """Up to `limit` numbers of lost batches that a batch has too, or that are above `last`, in order."""
    query = text(
        "SELECT number FROM lost_batch l WHERE number > :last OR EXISTS (SELECT FROM batch b WHERE b.number = l.number)"
        " ORDER BY number LIMIT :limit"
    )
    return [int(number) for number in connection.execute(query, {"last": last, "limit": limit}).scalars()]


def count_recoveries(connection: Connection) -> int:
    """The number of recoveries that are recorded."""
    return int(connection.execute(text("SELECT count(*) FROM recovery")).scalar_one())


def recoveries_astray(connection: Connection, limit: int) -> list[tuple[int, str]]:
    """Up to `limit` recoveries in order, each with what is wrong: `uncounted`, `shared` or `no-recovery`."""
    query = text(
        "SELECT id, reason FROM (SELECT r.id, CASE WHEN r.id > c.recoveries THEN 'uncounted'"
        "  WHEN EXISTS (SELECT FROM recovery o WHERE o.audit = r.audit AND o.id <> r.id) THEN 'shared'"
        "  WHEN NOT EXISTS (SELECT FROM audit a WHERE a.id = r.audit AND a.action = :action) THEN 'no-recovery' END AS reason"
        " FROM recovery r, continuity c) astray WHERE reason IS NOT NULL ORDER BY id LIMIT :limit"
    )
    rows = connection.execute(query, {"action": RECOVERY, "limit": limit})
    return [(int(row.id), str(row.reason)) for row in rows]


def audit_entries(connection: Connection, objects: Sequence[str], actions: Sequence[str]) -> list[Entry]:
    """The entries of the audit log about these objects with these actions, oldest first."""
    query = select(audit).where(
        audit.c.object == func.any(bindparam("objects", list(objects), ARRAY(String))),
        audit.c.action == func.any(bindparam("actions", list(actions), ARRAY(String))),
    )
    rows = connection.execute(query.order_by(audit.c.id))
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def count_audit_entries(connection: Connection, prefix: str) -> int:
    """The number of entries of the audit log whose action begins with `prefix`, such as `status.`."""
    query = select(func.count()).select_from(audit).where(audit.c.action.startswith(prefix, autoescape=True))
    return int(connection.execute(query).scalar_one())


def count_audited_events(connection: Connection) -> int:
    """The number of journey events in the audit log."""
    query = "SELECT coalesce(sum(jsonb_array_length(detail -> 'events')), 0) FROM audit WHERE action = 'journey.record'"
    return int(connection.execute(text(query)).scalar_one())


class ExceededQuota(NamedTuple):
    """An enterprise whose item codes exceed its quota; when it ordered the last of them, and when its record was changed."""

    uscc: str
    quota: int
    used: int
    last_ordered_at: datetime
    updated_at: datetime


def exceeded_quotas(connection: Connection) -> list[ExceededQuota]:
    """The enterprises whose item codes exceed their quota.

    A quota that was lowered after the last batch of items is no contradiction: codes printed before remain valid.
    """
    rows = connection.execute(
        text(
            "SELECT e.uscc, e.code_quota, sum(b.quantity) AS used, max(b.created_at) AS last, e.updated_at FROM enterprise e JOIN batch b USING (uscc)"
            " WHERE b.level IN ('item', 'compact') AND e.code_quota IS NOT NULL"
            " GROUP BY e.uscc HAVING sum(b.quantity) > e.code_quota"
        )
    )
    return [ExceededQuota(row.uscc, row.code_quota, int(row.used), row.last, row.updated_at) for row in rows]


def count_enterprises(connection: Connection) -> int:
    """The number of enterprises."""
    return int(connection.execute(select(func.count()).select_from(enterprise)).scalar_one())


def count_orders(connection: Connection) -> int:
    """The number of idempotency keys."""
    return int(connection.execute(select(func.count()).select_from(idempotency)).scalar_one())


def orders_astray(connection: Connection, limit: int) -> list[tuple[str, str, int | None]]:
    """Idempotency keys (caller, key, batch) without an existing batch, or with the batch of another key."""
    rows = connection.execute(
        text(
            "SELECT i.caller, i.key, i.batch FROM idempotency i LEFT JOIN batch b ON b.number = i.batch"
            " WHERE b.number IS NULL OR EXISTS (SELECT FROM idempotency j WHERE j.batch = i.batch"
            " AND (j.caller, j.key) <> (i.caller, i.key)) ORDER BY i.caller, i.key LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [(row.caller, row.key, row.batch) for row in rows]


# Cards ---------------------------------------------------------------------------------------------------


def count_cards(connection: Connection) -> int:
    """The number of cards."""
    return int(connection.execute(select(func.count()).select_from(card)).scalar_one())


def newest_card(connection: Connection) -> tuple[int, date]:
    """The highest revision of a card (0 without cards), and the date for which the product cards were derived."""
    row = connection.execute(
        text("SELECT (SELECT coalesce(max(revision), 0) FROM card) AS newest, turned_on FROM card_head")
    ).one()
    return int(row.newest), row.turned_on


def cards_after(connection: Connection, key: str, limit: int) -> list[Card]:
    """Up to `limit` cards with keys greater than `key` in the collation of the database; from the first for an empty key."""
    rows = connection.execute(select(card).where(card.c.key > key).order_by(card.c.key).limit(limit))
    return [Card(row.key, row.revision, bytes(row.body)) for row in rows]


def existing_cards(connection: Connection, keys: Sequence[str]) -> set[str]:
    """The keys among these that have a card."""
    among = card.c.key == func.any(bindparam("keys", list(keys), ARRAY(String)))
    return set(connection.execute(select(card.c.key).where(among)).scalars())


_NOTICE_EXISTS = str(exists().where(NOTICE).compile(compile_kwargs={"literal_binds": True}))
_EXPECTED = f"""
    SELECT 'p:' || gtin AS key FROM product
    UNION SELECT key FROM kept_card
    UNION ALL SELECT 'b:' || number FROM batch
    UNION ALL SELECT 'b:' || number FROM lost_batch
    UNION ALL SELECT DISTINCT 'l:' || gtin || ':' || lot FROM batch WHERE level = 'lot'
    UNION ALL SELECT DISTINCT 's:' || scope || ':' || target FROM status_change WHERE scope NOT IN ('code', 'range', 'batch')
    UNION ALL SELECT DISTINCT 'x:' || target FROM status_change WHERE scope = 'code'
    UNION ALL SELECT 'n:' WHERE {_NOTICE_EXISTS}
"""  # noqa: S608 - constant text, see above


def expected_cards(connection: Connection) -> Iterator[list[str]]:
    """The keys of all cards that must exist, 500 at a time."""
    for chunk in connection.execute(text(_EXPECTED).execution_options(yield_per=_CHUNK)).scalars().partitions():
        yield list(chunk)


def cards_under(connection: Connection, prefix: str) -> Iterator[list[Card]]:
    """The cards whose keys begin with `prefix` (`s:`, `x:7:`), 500 at a time."""
    query = select(card).where(card.c.key.startswith(prefix, autoescape=True))
    for chunk in connection.execute(query.execution_options(yield_per=_CHUNK)).partitions():
        yield [Card(row.key, row.revision, bytes(row.body)) for row in chunk]


_BASELESS = {
    "p": "NOT EXISTS (SELECT FROM product p WHERE p.gtin = substr(c.key, 3))"
    " AND NOT EXISTS (SELECT FROM kept_card k WHERE k.key = c.key)",
    "b": "NOT EXISTS (SELECT FROM batch b WHERE b.number::text = substr(c.key, 3))"
    " AND NOT EXISTS (SELECT FROM lost_batch b WHERE b.number::text = substr(c.key, 3))",
    "l": "NOT EXISTS (SELECT FROM batch b WHERE b.level = 'lot' AND b.gtin = split_part(c.key, ':', 2)"
    " AND b.lot = substr(c.key, 4 + length(b.gtin)))",
    "s": "NOT EXISTS (SELECT FROM status_change s WHERE s.scope = split_part(c.key, ':', 2)"
    " AND s.target = substr(c.key, 4 + length(s.scope)))",
    "x": "NOT EXISTS (SELECT FROM status_change s WHERE s.scope = 'code' AND s.target = substr(c.key, 3))",
    "n": f"(c.key <> 'n:' OR NOT {_NOTICE_EXISTS})",
}


def baseless_cards(connection: Connection, limit: int) -> list[str]:
    """The keys of up to `limit` cards whose product, batch, lot or decision does not exist."""
    keys: list[str] = []
    for kind, missing in _BASELESS.items():
        query = text(f"SELECT c.key FROM card c WHERE c.key LIKE '{kind}:%' AND {missing} ORDER BY 1 LIMIT :limit")  # noqa: S608 - constant texts, see above
        keys += connection.execute(query, {"limit": limit}).scalars()
    unknown_kind = text("SELECT key FROM card WHERE key !~ '^[pblsxn]:' ORDER BY 1 LIMIT :limit")
    return [*keys, *connection.execute(unknown_kind, {"limit": limit}).scalars()][:limit]


# Scans ---------------------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """An item whose history contradicts its scans: the scans that the history counts, and the stored scans."""

    batch: int
    item: int
    counted: int
    scans: int


def overcounted(connection: Connection, limit: int) -> list[Tally]:
    """Up to `limit` items whose history counts more scans than are stored, or has a time outside of the stored scans.

    Histories that begin before the oldest stored scan are left out: the partitions of those months may be deleted.
    """
    rows = connection.execute(
        text(
            "WITH counted AS (SELECT batch, index, count(*) AS scans, min(at) AS first_at, max(at) AS last_at FROM scan"
            " WHERE batch IS NOT NULL AND index IS NOT NULL GROUP BY batch, index)"
            " SELECT h.batch, h.index AS item, h.scans AS counted, coalesce(f.scans, 0) AS scans"
            " FROM item_history h LEFT JOIN counted f USING (batch, index)"
            " WHERE h.first_at >= (SELECT coalesce(min(at), '-infinity') FROM scan) AND (h.scans > coalesce(f.scans, 0)"
            " OR h.first_at < f.first_at OR h.last_at > f.last_at OR h.scans < 1)"
            " ORDER BY 1, 2 LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [Tally(row.batch, row.item, int(row.counted), int(row.scans)) for row in rows]


def totals(connection: Connection) -> tuple[int, int]:
    """The scans counted by all histories that begin within the stored scans, and the number of stored scans of items."""
    row = connection.execute(
        text(
            "SELECT (SELECT coalesce(sum(scans), 0) FROM item_history"
            " WHERE first_at >= (SELECT coalesce(min(at), '-infinity') FROM scan)) AS counted,"
            " (SELECT count(*) FROM scan WHERE batch IS NOT NULL AND index IS NOT NULL) AS scans"
        )
    ).one()
    return int(row.counted), int(row.scans)


def histories_astray(connection: Connection, limit: int) -> list[tuple[int, int]]:
    """Histories (batch, index) of items that do not exist."""
    rows = connection.execute(
        text(
            "SELECT h.batch, h.index AS item FROM item_history h LEFT JOIN batch b ON b.number = h.batch"
            " WHERE (b.number IS NULL AND NOT EXISTS (SELECT FROM lost_batch l WHERE l.number = h.batch)) OR h.index < 0 OR h.index >= b.quantity OR b.level NOT IN ('item', 'compact')"
            " ORDER BY 1, 2 LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [(row.batch, row.item) for row in rows]


class ItemHistory(NamedTuple):
    """The history of one item in the database."""

    batch: int
    item: int
    scans: int
    first_at: datetime
    first_city: str


def histories_after(connection: Connection, batch: int, index: int, limit: int) -> list[ItemHistory]:
    """Up to `limit` histories that follow this batch and index, in order."""
    after = text("(item_history.batch, item_history.index) > (:batch, :index)").bindparams(
        bindparam("batch", batch, BigInteger), bindparam("index", index, BigInteger)
    )
    columns = item_history.c
    query = select(columns.batch, columns.index, columns.scans, columns.first_at, columns.first_city)
    rows = connection.execute(query.where(after).order_by(columns.batch, columns.index).limit(limit))
    return [ItemHistory(*row) for row in rows]


def partitions(connection: Connection) -> set[str]:
    """The names of the partitions of `scan`: the monthly ones, such as `scan_2026_11`, and the default partition."""
    rows = connection.execute(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'scan'::regclass"
        )
    )
    return set(rows.scalars())


def noted_partitions(connection: Connection) -> dict[str, bool]:
    """The names of the monthly partitions that were ever made, and whether they are to be there: not dropped since."""
    rows = connection.execute(text("SELECT to_char(month, '\"scan_\"YYYY_MM'), dropped_at IS NULL FROM scan_partition"))
    return {name: bool(stands) for name, stands in rows}


def unplaced_scans(connection: Connection) -> list[tuple[str, int]]:
    """The months (YYYY-MM) of scans in the default partition, with the number of scans."""
    rows: Any = connection.execute(
        text(
            "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*) AS n FROM scan_default GROUP BY 1 ORDER BY 1"
        )
    )
    return [(row.month, int(row.n)) for row in rows]
