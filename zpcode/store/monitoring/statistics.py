"""Counts of the database for the metrics. Every query is cheap and has a time limit, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, func, select, text

from zpcode.store.backups import SLOT
from zpcode.store.status import NOTICE
from zpcode.store.tables.access import audit
from zpcode.store.tables.codes import batch, status_change

MILLISECONDS: Final = 2000


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of the database. `waiting` batches are reserved; `blocked` ones of them have a problem.

    `oldest` is the order time of the oldest waiting batch, or None. `jobs` counts the jobs of the queue by status.
    `partitions` says for each requested month whether its partition exists. `stray` is True if the default partition
    has scans; it should have none. `archive_stopped`: an archive of WAL has its slot, and nobody receives; `archive_bytes` of
    WAL wait for it.
    """

    audit_entries: int
    batches: int
    waiting: int
    blocked: int
    oldest: datetime | None
    jobs: dict[str, int]
    partitions: tuple[bool, ...]
    stray: bool
    archive_stopped: bool
    archive_bytes: int


@dataclass(slots=True)
class Decisions:
    """The numbers of decisions by scope and action, and of public notices, up to the decision numbered `last`."""

    last: int = 0
    by: dict[tuple[str, str], int] = field(default_factory=dict)
    notices: int = 0


def bound(connection: Connection) -> None:
    """Limit each statement of this transaction to two seconds, so that monitoring cannot overload the database."""
    connection.execute(text(f"SET LOCAL statement_timeout = {MILLISECONDS}"))


def counts(connection: Connection, months: Sequence[date]) -> Counts:
    """All counts except those of decisions."""
    waits = batch.c.state == "reserved"
    waiting, blocked, oldest = connection.execute(
        select(func.count(), func.count().filter(batch.c.problem != ""), func.min(batch.c.created_at)).where(waits)
    ).one()
    jobs = connection.execute(text("SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1"))
    stopped, archive_bytes = _archive(connection)
    return Counts(
        archive_stopped=stopped,
        archive_bytes=archive_bytes,
        audit_entries=connection.execute(select(func.coalesce(func.max(audit.c.id), 0))).scalar_one(),
        batches=connection.execute(select(func.count()).select_from(batch)).scalar_one(),
        waiting=waiting,
        blocked=blocked,
        oldest=oldest,
        jobs={row[0]: row[1] for row in jobs},
        partitions=tuple(_partitioned(connection, month) for month in months),
        stray=bool(connection.execute(text("SELECT EXISTS (SELECT FROM scan_default)")).scalar()),
    )


def decisions(connection: Connection, counted: Decisions) -> Decisions:
    """Add the decisions since `counted` to it. Decisions are append-only and numbered in commit order."""
    columns = status_change.c
    notice_count = func.count().filter(NOTICE)
    query = select(columns.scope, columns.action, func.count(), notice_count, func.max(columns.id)).where(
        columns.id > counted.last
    )
    total = Decisions(counted.last, dict(counted.by), counted.notices)
    for scope, action, number, notices, last in connection.execute(query.group_by(columns.scope, columns.action)):
        total.by[scope, action] = total.by.get((scope, action), 0) + number
        total.notices += notices
        total.last = max(total.last, last)
    return total


def _archive(connection: Connection) -> tuple[bool, int]:
    """Whether the WAL archive has stopped, and how much waits for it; without an archive neither."""
    row = connection.execute(
        text(
            "SELECT NOT active, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint"
            " FROM pg_replication_slots WHERE slot_name = :slot"
        ),
        {"slot": SLOT},
    ).one_or_none()
    return (False, 0) if row is None else (bool(row[0]), int(row[1]))


def _partitioned(connection: Connection, month: date) -> bool:
    return connection.execute(select(func.to_regclass(f"scan_{month:%Y_%m}"))).scalar() is not None
