"""The append-only audit log. Triggers of the database refuse UPDATE, DELETE and TRUNCATE."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, bindparam, func, insert, select
from sqlalchemy.dialects.postgresql import ARRAY

from zpcode.rules.audit import GENESIS, RECOVERY, Entry, digest
from zpcode.store import continuity, locks
from zpcode.store.locks import Lock
from zpcode.store.tables.access import audit


def lock(connection: Connection) -> None:
    """Take the lock for appending until the transaction ends. A transaction may take it twice.

    A transaction that takes it before it inserts other rows numbers those rows in commit order too. Raises DatabaseBehind
    instead of giving the number of an entry again.
    """
    continuity.require(connection)
    locks.hold(connection, Lock.AUDIT)


def append(
    connection: Connection, *, at: datetime, actor: str, action: str, object_: str, detail: dict[str, Any]
) -> int:
    """Add one entry within the caller's transaction and return its id.

    Entries are numbered in commit order without gaps: each appender keeps the lock until its commit.
    """
    lock(connection)
    last = head(connection)
    number, previous = (1, GENESIS) if last is None else (last[0] + 1, last[1])
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


def append_recovery(connection: Connection, *, at: datetime, actor: str, detail: dict[str, Any], lost_to: int) -> int:
    """Add the entry of a recovery and return its id, which is above `lost_to`: no number of a lost entry is used again.

    `lost_to` is the highest entry that any witness knows of. The detail says which numbers are lost.
    """
    lock(connection)
    after, previous = head(connection) or (0, GENESIS)
    number = max(after, lost_to) + 1
    entry = Entry(number, at, actor, RECOVERY, "database", {**detail, "after": after, "lost_to": number - 1})
    values = {"id": number, "at": at, "actor": actor, "action": entry.action, "object": entry.object}
    connection.execute(
        insert(audit).values(**values, detail=entry.detail, previous=previous, hash=digest(previous, entry))
    )
    return number


def head(connection: Connection) -> tuple[int, bytes] | None:
    """The id and the hash of the newest entry; None for an empty log."""
    return _one(connection, select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1))


def last_time(connection: Connection) -> datetime | None:
    """The time of the newest entry; None for an empty log."""
    return connection.execute(select(audit.c.at).order_by(audit.c.id.desc()).limit(1)).scalar_one_or_none()


def hash_at(connection: Connection, id_: int) -> bytes | None:
    """The hash of one entry, or None if there is no such entry."""
    row = _one(connection, select(audit.c.id, audit.c.hash).where(audit.c.id == id_))
    return None if row is None else row[1]


def hashes_of(connection: Connection, ids: Sequence[int]) -> dict[int, bytes]:
    """The hashes of the entries with these ids, as far as they exist."""
    wanted = func.any(bindparam("ids", list(ids), ARRAY(BigInteger)))
    rows = connection.execute(select(audit.c.id, audit.c.hash).where(audit.c.id == wanted))
    return {row.id: bytes(row.hash) for row in rows}


def _one(connection: Connection, query: Select[Any]) -> tuple[int, bytes] | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.id, bytes(row.hash))


def about(connection: Connection, object_: str, limit: int) -> list[Entry]:
    """Up to `limit` entries, newest first; only those about one object if `object_` is not empty."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if object_:
        query = query.where(audit.c.object == object_)
    rows = connection.execute(query)
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def of_actor(connection: Connection, object_: str, action: str, actor: str, since: datetime) -> list[Entry]:
    """The entries of one actor about one object with one action since a time, oldest first."""
    query = select(audit).where(audit.c.object == object_, audit.c.action == action, audit.c.actor == actor)
    rows = connection.execute(query.where(audit.c.at > since).order_by(audit.c.id))
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def of_actions(connection: Connection, actions: Sequence[str]) -> list[Entry]:
    """All entries with these actions, oldest first."""
    rows = connection.execute(select(audit).where(audit.c.action.in_(actions)).order_by(audit.c.id))
    return [Entry(row.id, row.at, row.actor, row.action, row.object, row.detail) for row in rows]


def entries(connection: Connection) -> Generator[tuple[Entry, bytes, bytes], None, None]:
    """Every entry in order with its stored previous hash and hash, read in chunks.

    A caller that stops early must close the iterator; this closes the cursor on the server.
    """
    query = select(audit).order_by(audit.c.id)
    with connection.execute(query.execution_options(yield_per=1000)) as rows:
        for row in rows:
            entry = Entry(row.id, row.at, row.actor, row.action, row.object, row.detail)
            yield entry, bytes(row.previous), bytes(row.hash)
