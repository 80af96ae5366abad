"""The queue's own tables (Procrastinate) as far as they have to agree with the batches."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, text

# A worker shows a sign of life every ten seconds; one that has shown none for a minute is gone.
_GONE = (
    "status = 'doing' AND NOT EXISTS (SELECT FROM procrastinate_workers w"
    " WHERE w.id = j.worker_id AND w.last_heartbeat > now() - interval '60 seconds')"
)


class Job(NamedTuple):
    """One job: its id, and the batch it is about where it names one."""

    id: int
    batch: int | None


def queued(connection: Connection) -> set[int]:
    """The batches that a job waits for, or that a living worker is at."""
    query = "SELECT (args->>'number')::bigint FROM procrastinate_jobs j WHERE status IN ('todo', 'doing') AND NOT "
    rows = connection.execute(text(f"{query}({_GONE})"))
    return {int(number) for number in rows.scalars() if number is not None}


def homeless(connection: Connection, limit: int) -> list[Job]:
    """Jobs about batches that do not exist."""
    return _jobs(connection, "NOT EXISTS (SELECT FROM batch b WHERE b.number::text = j.args->>'number')", limit)


def abandoned(connection: Connection, limit: int) -> list[Job]:
    """Jobs that a worker had begun and is gone: killed, or cut off. The sweep asks anew for what they were about."""
    return _jobs(connection, _GONE, limit)


def clear_abandoned(connection: Connection) -> int:
    """Take those jobs away, which nobody else ever would; returns how many there were."""
    return connection.execute(text(f"DELETE FROM procrastinate_jobs j WHERE {_GONE}")).rowcount  # noqa: S608 - the text above


def _jobs(connection: Connection, where: str, limit: int) -> list[Job]:
    query = text(
        # The conditions are the texts above.
        f"SELECT j.id, j.args->>'number' AS batch FROM procrastinate_jobs j WHERE {where} ORDER BY 1 LIMIT :limit"  # noqa: S608
    )
    rows: Any = connection.execute(query, {"limit": limit})
    return [Job(row.id, int(row.batch) if str(row.batch).isdecimal() else None) for row in rows]
