"""What `zpcode fsck` reads: whole tables in one snapshot, in chunks, and the rows that contradict each other.

Nothing here writes. Every query either streams, goes by key, or has a bound, so that memory does not grow with
the tables; time does, and the statement limit of a request does not hold here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, exists, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, String

from zpcode.rules.access import Caller, Role
from zpcode.rules.audit import Entry
from zpcode.rules.batches.batch import Batch
from zpcode.store import batches
from zpcode.store.cards import Card
from zpcode.store.database.session import transaction
from zpcode.store.status import NOTICE
from zpcode.store.tables.access import audit
from zpcode.store.tables.codes import batch, card, idempotency, item_history
from zpcode.store.tables.registry import enterprise

_EVERYBODY = Caller(Role.OPERATOR, "*", "fsck")
_CHUNK = 500


def unhurried(engine: Engine) -> None:
    """Let statements on this engine take as long as they need, as long as the server lives: not for a service."""
    engine.get_execution_options()["pulse"].statement = math.inf


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """One moment of the database, however long it is looked at; nothing can be written. Raises Unavailable."""
    still = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with transaction(still) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        yield connection


def every_batch(connection: Connection) -> Iterator[list[Batch]]:
    """All batches, newest first, 500 at a time."""
    before: int | None = None
    while chunk := batches.listing(connection, _EVERYBODY, before, _CHUNK):
        yield chunk
        before = chunk[-1].number


def last_number(connection: Connection) -> int:
    """The highest batch number that was ever given out; 0 before the first."""
    row = connection.execute(text("SELECT last_value, is_called FROM batch_number")).one()
    return int(row.last_value) if row.is_called else 0


def said_of(connection: Connection, objects: Sequence[str], actions: Sequence[str]) -> list[Entry]:
    """The audit log's entries about some objects with some actions, oldest first."""
    query = select(audit).where(
        audit.c.object == func.any(bindparam("objects", list(objects), ARRAY(String))),
        audit.c.action == func.any(bindparam("actions", list(actions), ARRAY(String))),
    )
    rows = connection.execute(query.order_by(audit.c.id))
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def count_of(connection: Connection, prefix: str) -> int:
    """How many entries of the audit log have an action that begins so, as `status.`."""
    query = select(func.count()).select_from(audit).where(audit.c.action.startswith(prefix, autoescape=True))
    return int(connection.execute(query).scalar_one())


def events_said(connection: Connection) -> int:
    """How many events of journeys the audit log has."""
    query = "SELECT coalesce(sum(jsonb_array_length(detail -> 'events')), 0) FROM audit WHERE action = 'journey.record'"
    return int(connection.execute(text(query)).scalar_one())


class Overdrawn(NamedTuple):
    """An enterprise that had more item codes than its quota allowed when it asked for the last of them."""

    uscc: str
    quota: int
    used: int


def overdrawn(connection: Connection) -> list[Overdrawn]:
    """Enterprises over a quota that has stood unchanged since their last batch of items was reserved.

    A quota that was lowered later is no contradiction: what was printed before stays printed.
    """
    rows = connection.execute(
        text(
            "SELECT e.uscc, e.code_quota, sum(b.quantity) AS used FROM enterprise e JOIN batch b USING (uscc)"
            " WHERE b.level IN ('item', 'compact') AND e.code_quota IS NOT NULL"
            " GROUP BY e.uscc HAVING sum(b.quantity) > e.code_quota AND max(b.created_at) > e.updated_at"
        )
    )
    return [Overdrawn(row.uscc, row.code_quota, int(row.used)) for row in rows]


def enterprises(connection: Connection) -> int:
    """How many enterprises there are."""
    return int(connection.execute(select(func.count()).select_from(enterprise)).scalar_one())


def orders(connection: Connection) -> int:
    """How many idempotency keys there are."""
    return int(connection.execute(select(func.count()).select_from(idempotency)).scalar_one())


def orders_astray(connection: Connection, limit: int) -> list[tuple[str, str, int | None]]:
    """Idempotency keys (caller, key, batch) that name no batch, or one that another key has made."""
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


def cards(connection: Connection) -> int:
    """How many cards there are."""
    return int(connection.execute(select(func.count()).select_from(card)).scalar_one())


def newest_card(connection: Connection) -> tuple[int, date]:
    """The highest revision of any card (0 without one), and the day the product cards stand for."""
    row = connection.execute(
        text("SELECT (SELECT coalesce(max(revision), 0) FROM card) AS newest, turned_on FROM card_head")
    ).one()
    return int(row.newest), row.turned_on


def cards_after(connection: Connection, key: str, limit: int) -> list[Card]:
    """The next cards by key, in the database's own order; the first ones after an empty key."""
    rows = connection.execute(select(card).where(card.c.key > key).order_by(card.c.key).limit(limit))
    return [Card(row.key, row.revision, bytes(row.body)) for row in rows]


def known_cards(connection: Connection, keys: Sequence[str]) -> set[str]:
    """Those of these keys under which there is a card."""
    among = card.c.key == func.any(bindparam("keys", list(keys), ARRAY(String)))
    return set(connection.execute(select(card.c.key).where(among)).scalars())


_NOTICE_EXISTS = str(exists().where(NOTICE).compile(compile_kwargs={"literal_binds": True}))
_WANTED = f"""
    SELECT 'p:' || gtin AS key FROM product
    UNION ALL SELECT 'b:' || number FROM batch
    UNION ALL SELECT DISTINCT 'l:' || gtin || ':' || lot FROM batch WHERE level = 'lot'
    UNION ALL SELECT DISTINCT 's:' || scope || ':' || target FROM status_change WHERE scope NOT IN ('code', 'range', 'batch')
    UNION ALL SELECT DISTINCT 'x:' || target FROM status_change WHERE scope = 'code'
    UNION ALL SELECT 'n:' WHERE {_NOTICE_EXISTS}
"""  # noqa: S608 - the text above


def wanted_cards(connection: Connection) -> Iterator[list[str]]:
    """The keys of all cards there have to be, 500 at a time."""
    for chunk in connection.execute(text(_WANTED).execution_options(yield_per=_CHUNK)).scalars().partitions():
        yield list(chunk)


class LotRow(NamedTuple):
    """A lot that has lot codes: its dates, and when the first of its batches became active."""

    gtin: str
    lot: str
    production_date: date | None
    expiry_date: date | None
    activated_at: datetime | None


def lots(connection: Connection, wanted: Sequence[tuple[str, str]]) -> list[LotRow]:
    """These lots (GTIN, lot) as their batches make them."""
    columns = batch.c
    query = (
        select(
            columns.gtin,
            columns.lot,
            func.max(columns.production_date),
            func.max(columns.expiry_date),
            func.min(columns.activated_at),
        )
        .where(columns.level == "lot", tuple_(columns.gtin, columns.lot).in_(wanted))
        .group_by(columns.gtin, columns.lot)
    )
    return [LotRow(*row) for row in connection.execute(query)]


def cards_under(connection: Connection, prefix: str) -> Iterator[list[Card]]:
    """The cards whose keys begin so (`s:`, `x:7:`), 500 at a time."""
    query = select(card).where(card.c.key.startswith(prefix, autoescape=True))
    for chunk in connection.execute(query.execution_options(yield_per=_CHUNK)).partitions():
        yield [Card(row.key, row.revision, bytes(row.body)) for row in chunk]


_GROUNDLESS = {
    "p": "NOT EXISTS (SELECT FROM product p WHERE p.gtin = substr(c.key, 3))",
    "b": "NOT EXISTS (SELECT FROM batch b WHERE b.number::text = substr(c.key, 3))",
    "l": "NOT EXISTS (SELECT FROM batch b WHERE b.level = 'lot' AND b.gtin = split_part(c.key, ':', 2)"
    " AND b.lot = substr(c.key, 4 + length(b.gtin)))",
    "s": "NOT EXISTS (SELECT FROM status_change s WHERE s.scope = split_part(c.key, ':', 2)"
    " AND s.target = substr(c.key, 4 + length(s.scope)))",
    "x": "NOT EXISTS (SELECT FROM status_change s WHERE s.scope = 'code' AND s.target = substr(c.key, 3))",
    "n": f"(c.key <> 'n:' OR NOT {_NOTICE_EXISTS})",
}


def groundless_cards(connection: Connection, limit: int) -> list[str]:
    """Keys of cards without the product, batch, lot or decision they should stand for."""
    found: list[str] = []
    for kind, missing in _GROUNDLESS.items():
        query = text(f"SELECT c.key FROM card c WHERE c.key LIKE '{kind}:%' AND {missing} ORDER BY 1 LIMIT :limit")  # noqa: S608 - the texts above
        found += connection.execute(query, {"limit": limit}).scalars()
    unheard = text("SELECT key FROM card WHERE key !~ '^[pblsxn]:' ORDER BY 1 LIMIT :limit")
    return [*found, *connection.execute(unheard, {"limit": limit}).scalars()][:limit]


# Scans ---------------------------------------------------------------------------------------------------


class Tally(NamedTuple):
    """An item whose history and whose scans contradict each other: what it counts, and how many scans there are."""

    batch: int
    item: int
    counted: int
    scans: int


def overcounted(connection: Connection, limit: int) -> list[Tally]:
    """Items whose history counts more than there are scans of them, or speaks of times without a scan.

    Histories that begin before the oldest scan kept are left out: the partitions of those months may be gone.
    """
    rows = connection.execute(
        text(
            "WITH found AS (SELECT batch, index, count(*) AS scans, min(at) AS first_at, max(at) AS last_at FROM scan"
            " WHERE batch IS NOT NULL AND index IS NOT NULL GROUP BY batch, index)"
            " SELECT h.batch, h.index AS item, h.scans AS counted, coalesce(f.scans, 0) AS scans"
            " FROM item_history h LEFT JOIN found f USING (batch, index)"
            " WHERE h.first_at >= (SELECT coalesce(min(at), '-infinity') FROM scan) AND (h.scans > coalesce(f.scans, 0)"
            " OR h.first_at < f.first_at OR h.last_at > f.last_at OR h.scans < 1)"
            " ORDER BY 1, 2 LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [Tally(row.batch, row.item, int(row.counted), int(row.scans)) for row in rows]


def totals(connection: Connection) -> tuple[int, int]:
    """What all histories that lie wholly within the scans kept count together, and how many scans of items there are."""
    row = connection.execute(
        text(
            "SELECT (SELECT coalesce(sum(scans), 0) FROM item_history"
            " WHERE first_at >= (SELECT coalesce(min(at), '-infinity') FROM scan)) AS counted,"
            " (SELECT count(*) FROM scan WHERE batch IS NOT NULL AND index IS NOT NULL) AS scans"
        )
    ).one()
    return int(row.counted), int(row.scans)


def histories_astray(connection: Connection, limit: int) -> list[tuple[int, int]]:
    """Histories (batch, index) of items that no batch has."""
    rows = connection.execute(
        text(
            "SELECT h.batch, h.index AS item FROM item_history h LEFT JOIN batch b ON b.number = h.batch"
            " WHERE b.number IS NULL OR h.index < 0 OR h.index >= b.quantity OR b.level NOT IN ('item', 'compact')"
            " ORDER BY 1, 2 LIMIT :limit"
        ),
        {"limit": limit},
    )
    return [(row.batch, row.item) for row in rows]


class Counted(NamedTuple):
    """One item's history as the database counts it."""

    batch: int
    item: int
    scans: int
    first_at: datetime
    first_city: str


def histories_after(connection: Connection, batch: int, index: int, limit: int) -> list[Counted]:
    """The next histories by batch and index."""
    after = text("(item_history.batch, item_history.index) > (:batch, :index)").bindparams(
        bindparam("batch", batch, BigInteger), bindparam("index", index, BigInteger)
    )
    columns = item_history.c
    query = select(columns.batch, columns.index, columns.scans, columns.first_at, columns.first_city)
    rows = connection.execute(query.where(after).order_by(columns.batch, columns.index).limit(limit))
    return [Counted(*row) for row in rows]


def partitions(connection: Connection) -> set[str]:
    """The names of the monthly partitions of `scan`, as `scan_2026_11`, and of the one for everything else."""
    rows = connection.execute(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'scan'::regclass"
        )
    )
    return set(rows.scalars())


def unplaced_scans(connection: Connection) -> list[tuple[str, int]]:
    """Months (YYYY-MM) of which scans lie in the partition for everything else, and how many."""
    rows: Any = connection.execute(
        text(
            "SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*) AS n FROM scan_default GROUP BY 1 ORDER BY 1"
        )
    )
    return [(row.month, int(row.n)) for row in rows]
