"""The append-only audit log. The database refuses UPDATE, DELETE and TRUNCATE on it by trigger."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from zpcode.rules.audit import GENESIS, Entry, digest
from zpcode.store import locks
from zpcode.store.locks import Lock
from zpcode.store.tables.access import audit


def lock(connection: Connection) -> None:
    """Wait to be the only appender until the transaction ends. Taken twice it is still one lock.

    Whoever takes it before writing other rows makes their numbers follow commits too.
    """
    locks.hold(connection, Lock.AUDIT)


def append(
    connection: Connection, *, at: datetime, actor: str, action: str, object_: str, detail: dict[str, Any]
) -> int:
    """Add one entry within the caller's transaction and return its id.

    Entries are numbered without gaps in commit order: appenders take turns until each commits.
    """
    lock(connection)
    last = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).one_or_none()
    number, previous = (1, GENESIS) if last is None else (last.id + 1, last.hash)
    entry = Entry(number, at, actor, action, object_, detail)
    connection.execute(
        insert(audit).values(
            id=number,
            at=at,
            actor=actor,
            action=action,
            object=object_,
            detail=detail,
            previous=previous,
            hash=digest(previous, entry),
        )
    )
    return number


def about(connection: Connection, object_: str, limit: int) -> list[Entry]:
    """The newest entries, newest first; those about one object where `object_` is not empty."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if object_:
        query = query.where(audit.c.object == object_)
    rows = connection.execute(query)
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def entries(connection: Connection) -> Generator[tuple[Entry, bytes, bytes], None, None]:
    """Every entry in order with its stored previous hash and hash, read in chunks.

    Whoever stops before the end closes the iterator, and with it the cursor on the server.
    """
    query = select(audit).order_by(audit.c.id)
    with connection.execute(query.execution_options(yield_per=1000)) as rows:
        for row in rows:
            entry = Entry(row.id, row.at, row.actor, row.action, row.object, row.detail)
            yield entry, bytes(row.previous), bytes(row.hash)
