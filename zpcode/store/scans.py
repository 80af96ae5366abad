"""Scans that have been drained from Redis: the monthly partitions, and each item's history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, case, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert

from zpcode.store.tables import item_history, scan


def unscanned(connection: Connection, batches: Sequence[int]) -> list[int]:
    """Those of these batches of which no item has a history."""
    if not batches:
        return []
    numbers = func.unnest(list(batches)).column_valued("number")
    query = select(numbers).where(~exists().where(item_history.c.batch == numbers))
    return [int(row[0]) for row in connection.execute(query)]


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Insert scans and return those that were not there yet: an entry delivered twice counts once."""
    if not rows:
        return []
    statement = insert(scan).on_conflict_do_nothing().returning(scan.c.at, scan.c.entry)
    fresh = {(row.at, row.entry) for row in connection.execute(statement.values(list(rows)))}
    return [row for row in rows if (row["at"], row["entry"]) in fresh]


def count(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Add to items' histories; each row has batch, index, scans, first_at, first_city, last_at."""
    if not rows:
        return
    statement = insert(item_history).values(sorted(rows, key=lambda row: (row["batch"], row["index"])))
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


def ensure_partition(connection: Connection, month: date) -> None:
    """Make the partition of one month where it is missing. `month` is any day in it."""
    first = month.replace(day=1)
    following = date(first.year + first.month // 12, first.month % 12 + 1, 1)
    name = f"scan_{first:%Y_%m}"
    if connection.execute(select(func.to_regclass(name))).scalar() is None:
        connection.execute(
            text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF scan FOR VALUES FROM ('{first}') TO ('{following}')")
        )


def last_at(connection: Connection) -> datetime | None:
    """When the newest drained scan happened."""
    moment: datetime | None = connection.execute(select(func.max(scan.c.at))).scalar()
    return moment
