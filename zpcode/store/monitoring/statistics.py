"""The database counted, for whoever watches it: every query is bounded in time and cheap however much there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import Connection, func, select, text

from zpcode.store.status import NOTICE
from zpcode.store.tables.access import audit
from zpcode.store.tables.codes import batch, status_change

MILLISECONDS: Final = 2000


@dataclass(frozen=True, slots=True)
class Counts:
    """What is in the database. `oldest` is when the first batch that still waits was ordered; None without one.

    `jobs` are those of the queue by status, `partitions` says for each month asked for whether it has one, and
    `stray` whether scans stand in the default partition: none should.
    """

    audit_entries: int
    batches: int
    waiting: int
    hindered: int
    oldest: datetime | None
    jobs: dict[str, int]
    partitions: tuple[bool, ...]
    stray: bool


@dataclass(slots=True)
class Decisions:
    """Decisions by scope and action, and those with a notice, up to the one numbered `last`."""

    last: int = 0
    by: dict[tuple[str, str], int] = field(default_factory=dict)
    notices: int = 0


def bound(connection: Connection) -> None:
    """Let no statement of this transaction take longer than two seconds: watching must not be a load."""
    connection.execute(text(f"SET LOCAL statement_timeout = {MILLISECONDS}"))


def counts(connection: Connection, months: Sequence[date]) -> Counts:
    """Everything but the decisions."""
    waits = batch.c.state == "reserved"
    waiting, hindered, oldest = connection.execute(
        select(func.count(), func.count().filter(batch.c.problem != ""), func.min(batch.c.created_at)).where(waits)
    ).one()
    jobs = connection.execute(text("SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY 1"))
    return Counts(
        audit_entries=connection.execute(select(func.coalesce(func.max(audit.c.id), 0))).scalar_one(),
        batches=connection.execute(select(func.count()).select_from(batch)).scalar_one(),
        waiting=waiting,
        hindered=hindered,
        oldest=oldest,
        jobs={row[0]: row[1] for row in jobs},
        partitions=tuple(_partitioned(connection, month) for month in months),
        stray=bool(connection.execute(text("SELECT EXISTS (SELECT FROM scan_default)")).scalar()),
    )


def decisions(connection: Connection, known: Decisions) -> Decisions:
    """The decisions known so far and those since: they are append-only and numbered in the order of their commits."""
    made = status_change.c
    noted = func.count().filter(NOTICE)
    query = select(made.scope, made.action, func.count(), noted, func.max(made.id)).where(made.id > known.last)
    found = Decisions(known.last, dict(known.by), known.notices)
    for scope, action, number, notices, last in connection.execute(query.group_by(made.scope, made.action)):
        found.by[scope, action] = found.by.get((scope, action), 0) + number
        found.notices += notices
        found.last = max(found.last, last)
    return found


def _partitioned(connection: Connection, month: date) -> bool:
    return connection.execute(select(func.to_regclass(f"scan_{month:%Y_%m}"))).scalar() is not None
