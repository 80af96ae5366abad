"""All advisory locks of the database: their numbers, what they protect, and the order in which they are taken.

PostgreSQL identifies advisory locks by number (PostgreSQL manual, 13.3.5). A lock without an object is one lock for the
whole database. A lock with an object is a class: one lock for each object (a batch number, a target, a slot).

A transaction takes several locks in the order in which `Lock` lists them (not by number), so that no two transactions wait for each other:
an import takes IMPORT, then AUDIT; a decision takes TARGET, then AUDIT; the projector takes PROJECTOR alone.
"""

from __future__ import annotations

import enum

from sqlalchemy import Connection, text


class Lock(enum.IntEnum):
    """The lock numbers, in the order in which a transaction takes them. A number is never used for anything else."""

    MIGRATION = 7283001
    """One migration of the schema at a time."""
    RECOVERY = 7283013
    """One recovery of a restored database at a time."""
    IMPORT = 7283005
    """One import at a time: what one import has checked, no other import changes."""
    ISSUING = 7283010
    """Class by batch number: one process issues a batch. Belongs to a session, so it ends with the process."""
    TARGET = 7283011
    """Class by scope and target: decisions about one target are made one after the other."""
    LIKENESS = 7283021
    """Class by likeness of a complaint: the same complaint sent twice at once is recorded once."""
    AUDIT = 7283002
    """The end of the hash chain: entries are appended one after the other."""
    PROJECTOR = 7283003
    """One writer of Redis at a time."""
    PARTITION = 7283006
    """Partitions of `scan`: two workers do not create the same month at once."""
    WORKER_SLOT = 7283012
    """Class by slot: a worker's number. Belongs to a session, so it ends with the process."""


def hold(connection: Connection, lock: Lock, obj: int | None = None) -> None:
    """Wait for a lock and keep it until the transaction ends. `obj` (32 bits, signed) is for classes of locks."""
    if obj is None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock.value})
        return
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, :obj)"), {"lock": lock.value, "obj": obj})


def hold_text(connection: Connection, lock: Lock, obj: str) -> None:
    """As `hold`, for an object named by a text. Two texts with the same hash share a lock, which costs only waiting time."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock, hashtext(:obj))"), {"lock": lock.value, "obj": obj})


def try_session(connection: Connection, lock: Lock, obj: int) -> bool:
    """Try to take a lock for the session; return whether it was free. The lock ends with the connection."""
    query = text("SELECT pg_try_advisory_lock(:lock, :obj)")
    return bool(connection.execute(query, {"lock": lock.value, "obj": obj}).scalar_one())


def release_session(connection: Connection, lock: Lock, obj: int) -> None:
    """Release a lock that `try_session` took."""
    connection.execute(text("SELECT pg_advisory_unlock(:lock, :obj)"), {"lock": lock.value, "obj": obj})


def objects_in_use(connection: Connection, lock: Lock) -> set[int]:
    """The objects of a class of locks that are locked in this database now."""
    locked = text(
        "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = :lock AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return {int(row[0]) for row in connection.execute(locked, {"lock": lock.value})}


def open_to(connection: Connection, role: str) -> bool:
    """Whether a role may take these locks: a role that keeps `Lock.AUDIT` stops every decision. False if there is no such role."""
    query = text(
        "SELECT coalesce(bool_or(has_function_privilege(oid, 'pg_advisory_lock(bigint)', 'EXECUTE')), false)"
        " FROM pg_roles WHERE rolname = :role"
    )
    return bool(connection.execute(query, {"role": role}).scalar_one())
