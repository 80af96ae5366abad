"""Scans end with their month: the partitions of months that are long past are dropped when the operator says so.

Nothing drops them by itself. How long single scans are needed (as evidence, for statistics) is decided outside the service, and
what is dropped exists only in backups. Counts of items stay in their histories, and the table `scan_partition` keeps how many
scans each month had.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from zpcode.errors import refusal
from zpcode.rules.access import Caller, may_administer
from zpcode.store import audit, scans
from zpcode.store.database.session import Engine, transaction

KEPT_MONTHS: Final = 6
"""Whole months after a month, until the end of which its scans are kept. The function of the database refuses earlier, too."""
DROP: Final = "scans.drop"


@dataclass(frozen=True, slots=True)
class MonthOfScans:
    """A month (its first day) that has a partition, and the number of scans in it."""

    month: date
    scans: int


def earliest_kept(now: datetime) -> date:
    """The first month (its first day, in UTC) whose scans may not be dropped yet."""
    day = now.astimezone(UTC).date()
    months = day.year * 12 + day.month - 1 - KEPT_MONTHS
    return date(months // 12, months % 12 + 1, 1)


def droppable(engine: Engine, before: date, *, caller: Caller, now: datetime) -> list[MonthOfScans]:
    """The months before the month of `before` that have a partition, oldest first. Changes nothing.

    Raises Forbidden unless the caller is the operator, Refused if scans of these months are kept yet, Unavailable.
    """
    may_administer(caller)
    kept = earliest_kept(now)
    if before.replace(day=1) > kept:
        raise refusal(
            "kept",
            f"扫码记录在当月结束后保留半年；目前最多可删除 {kept:%Y-%m} 之前的月份（--before {kept:%Y-%m}）",
            f"scans are kept for half a year after their month; now at most those before {kept:%Y-%m} (--before {kept:%Y-%m})",
        )
    with transaction(engine) as connection:
        months = [month for month in scans.months(connection) if month < before.replace(day=1)]
        return [MonthOfScans(month, scans.number_in(connection, month)) for month in months]


def drop(engine: Engine, month: date, *, caller: Caller, now: datetime) -> MonthOfScans:
    """Drop the scans of a month, for good, and record it in the audit log; returns how many there were.

    Raises Forbidden unless the caller is the operator, Unavailable.
    """
    may_administer(caller)
    with transaction(engine) as connection:
        dropped = MonthOfScans(month, scans.drop_partition(connection, month))
        audit.append(
            connection,
            at=now,
            actor=caller.name,
            action=DROP,
            object_=f"scans:{month:%Y-%m}",
            detail={"scans": dropped.scans},
        )
    return dropped
