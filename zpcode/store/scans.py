"""Scans drained from Redis: the monthly partitions of `scan`, and the history of each item."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Select, Table, case, cast, exists, func, literal, select, text
from sqlalchemy.dialects.postgresql import ARRAY, insert

from zpcode.store import locks
from zpcode.store.locks import Lock
from zpcode.store.tables.codes import batch, item_history, scan
from zpcode.store.tables.continuity import lost_batch
from zpcode.wire.payload import Level
from zpcode.wire.permutation import SLOTS


def unscanned(connection: Connection, batches: Sequence[int]) -> list[int]:
    """The batches among these of which no item has a history."""
    if not batches:
        return []
    numbers = func.unnest(list(batches)).column_valued("number")
    query = select(numbers).where(~exists().where(item_history.c.batch == numbers))
    return [int(row[0]) for row in connection.execute(query)]


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Insert scans and return the new ones: an entry that is delivered twice counts once.

    Each row has every column of `scan`. The statement has a fixed text and one array for each column. This is twenty
    times as fast as a VALUES list, which SQLAlchemy compiles again for every length.
    """
    if not rows:
        return []
    statement = insert(scan).from_select(list(scan.c.keys()), _arrays(scan, rows))
    returning = statement.on_conflict_do_nothing().returning(scan.c.at, scan.c.entry)
    fresh = {(row.at, row.entry) for row in connection.execute(returning)}
    return [row for row in rows if (row["at"], row["entry"]) in fresh]


def quantities(connection: Connection, batches: Collection[int]) -> dict[int, int]:
    """The number of items of each of these batches that has items. A batch whose record was lost may have any of the slots."""
    among = cast(sorted(batches), ARRAY(BigInteger))
    with_items = batch.c.level.in_([level.value for level in Level if level.is_item])
    recorded = select(batch.c.number, batch.c.quantity).where(batch.c.number == func.any(among), with_items)
    lost = select(lost_batch.c.number, literal(SLOTS, BigInteger)).where(lost_batch.c.number == func.any(among))
    return {int(number): int(quantity) for query in (lost, recorded) for number, quantity in connection.execute(query)}


def count(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add scans to the histories of items. `rows` has one row for each item, with every column of `item_history`."""
    if not rows:
        return
    ordered = sorted(
        rows, key=lambda row: (row["batch"], row["index"])
    )  # so that two workers lock rows in the same order
    statement = insert(item_history).from_select(list(item_history.c.keys()), _arrays(item_history, ordered))
    new = statement.excluded
    first_city = case((new.first_at < item_history.c.first_at, new.first_city), else_=item_history.c.first_city)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[item_history.c.batch, item_history.c.index],
            set_={
                "scans": item_history.c.scans + new.scans,
                "first_at": func.least(item_history.c.first_at, new.first_at),
                "first_city": first_city,
                "last_at": func.greatest(item_history.c.last_at, new.last_at),
            },
        )
    )


def _arrays(table: Table, rows: Sequence[dict[str, Any]]) -> Select[Any]:
    """The rows as a query: `unnest` of one array for each column of the table."""
    arrays = [cast([row[column.name] for row in rows], ARRAY(column.type)) for column in table.c]
    columns = (
        func.unnest(*arrays).table_valued(*(Column(column.name, column.type) for column in table.c)).render_derived()
    )
    return select(*(columns.c[column.name] for column in table.c))


def has_partition(connection: Connection, month: date) -> bool:
    """Whether the partition of the month of the date `month` exists; it then exists until the transaction ends.

    The second half locks the table: without it, a restore in place could come between this and an insert.
    """
    query = text("SELECT to_regclass(:name) IS NOT NULL AND NOT EXISTS (SELECT FROM scan WHERE false)")
    return bool(connection.execute(query, {"name": f"scan_{month:%Y_%m}"}).scalar_one())


def ensure_partition(connection: Connection, month: date) -> None:
    """Create the partition of the month of the date `month` if it does not exist."""
    locks.hold(connection, Lock.PARTITION)  # two workers at the turn of a month
    if not has_partition(connection, month):
        connection.execute(text("SELECT make_scan_partition(:month)"), {"month": month})


def months(connection: Connection) -> list[date]:
    """The first days of the months that have a partition, oldest first."""
    rows = connection.execute(text("SELECT month FROM scan_partition WHERE dropped_at IS NULL ORDER BY month"))
    return [row.month for row in rows if has_partition(connection, row.month)]


def number_in(connection: Connection, month: date) -> int:
    """The number of scans in the partition of the month that begins with this day."""
    following = (month + timedelta(days=31)).replace(day=1)
    begin, end = (datetime(day.year, day.month, 1, tzinfo=UTC) for day in (month, following))
    query = select(func.count()).select_from(scan).where(scan.c.at >= begin, scan.c.at < end)
    return int(connection.execute(query).scalar_one())


def drop_partition(connection: Connection, month: date) -> int:
    """Drop the partition of the month of the date `month`; returns how many scans it had.

    The database refuses this until half a year after the month, and notes what was dropped. Raises DBAPIError.
    """
    locks.hold(connection, Lock.PARTITION)
    return int(connection.execute(text("SELECT drop_scan_partition(:month)"), {"month": month}).scalar_one())
