"""Procrastinate's job table, as far as it must agree with the batches."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, text

# A worker writes a heartbeat every ten seconds; a worker without one for a minute is gone.
_GONE = (
    "status = 'doing' AND NOT EXISTS (SELECT FROM procrastinate_workers w"
    " WHERE w.id = j.worker_id AND w.last_heartbeat > now() - interval '60 seconds')"
)


class Job(NamedTuple):
    """One job: its id, and the number of its batch if it names one."""

    id: int
    batch: int | None


def queued(connection: Connection) -> set[int]:
    """The numbers of the batches that have a waiting job, or a job that a live worker runs."""
    query = "SELECT (args->>'number')::bigint FROM procrastinate_jobs j WHERE status IN ('todo', 'doing') AND NOT "
    rows = connection.execute(text(f"{query}({_GONE})"))
    return {int(number) for number in rows.scalars() if number is not None}


def without_batch(connection: Connection, limit: int) -> list[Job]:
    """Up to `limit` jobs whose batch does not exist."""
    return _jobs(connection, "NOT EXISTS (SELECT FROM batch b WHERE b.number::text = j.args->>'number')", limit)


def abandoned(connection: Connection, limit: int) -> list[Job]:
    """Up to `limit` jobs of workers that are gone (killed or disconnected). The clean-up queues their batches again."""
    return _jobs(connection, _GONE, limit)


def clear_abandoned(connection: Connection) -> int:
    """Delete the abandoned jobs, since no worker will finish them; return their number."""
    return connection.execute(text(f"DELETE FROM procrastinate_jobs j WHERE {_GONE}")).rowcount  # noqa: S608 - the text above


def _jobs(connection: Connection, where: str, limit: int) -> list[Job]:
    query = text(
        # `where` is one of the texts above.
        f"SELECT j.id, j.args->>'number' AS batch FROM procrastinate_jobs j WHERE {where} ORDER BY 1 LIMIT :limit"  # noqa: S608
    )
    rows: Any = connection.execute(query, {"limit": limit})
    return [Job(row.id, int(row.batch) if str(row.batch).isdecimal() else None) for row in rows]
