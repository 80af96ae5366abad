"""What a backup has to know of the server that it copies. The role of backups asks; nothing is written."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import Connection, func, select, text

from zpcode.rules.continuity import BehindEvidence
from zpcode.store.tables.access import audit
from zpcode.store.tables.codes import batch

SLOT: Final = "zpcode_backup"
"""The replication slot of the WAL archive: it keeps on the server what the archive has not received."""


class DatabaseServer(NamedTuple):
    """A server: its major version, the names of the database and of the superuser that owns the cluster, its identity and
    timeline, the size of a WAL segment and of the database in bytes, its clock, how many additional tablespaces it has, whether it is a replica, and the LSN up to which its WAL is written.
    """

    major: int
    database: str
    superuser: str
    system: str
    timeline: int
    segment_bytes: int
    database_bytes: int
    now: datetime
    tablespaces: int
    replica: bool
    written: str


class ReplicationSlot(NamedTuple):
    """A replication slot: the LSN from which its WAL is kept (None: not any more), and whether a program reads it."""

    kept_from: str | None
    active: bool


class RecordedState(NamedTuple):
    """What the database had recorded: the revision of its schema, the last audit entry, the highest batch number."""

    schema: str
    audit_count: int
    audit_head: bytes
    last_batch: int


def server(connection: Connection) -> DatabaseServer:
    """The server at the other end. The timeline of a replica is that of its last checkpoint."""
    row = connection.execute(
        text(
            "SELECT current_setting('server_version_num')::int / 10000,"
            " current_database(), (SELECT rolname FROM pg_roles WHERE oid = 10),"
            " (SELECT system_identifier FROM pg_control_system())::text,"
            " CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())"
            " ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,"
            " pg_size_bytes(current_setting('wal_segment_size')), pg_database_size(current_database()),"
            " clock_timestamp(), (SELECT count(*) FROM pg_tablespace) - 2, pg_is_in_recovery(),"
            " (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text"
        )
    ).one()
    return DatabaseServer._make(row)


def now(connection: Connection) -> datetime:
    """The time by the server's clock, by which it stamps every commit."""
    moment: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def mark_restored(evidence: BehindEvidence) -> str:
    """The statement that records in a restored database that it is behind; it has no parameters, for psql.

    So the database is not taken for a whole one if Redis, code files and signer are lost too, or are new.
    """
    proofs = msgspec.json.encode([evidence]).decode("utf-8").replace("'", "''")
    now = "coalesce(behind_since, now())"
    return f"UPDATE continuity SET behind_since = {now}, evidence = evidence || '{proofs}'::jsonb"  # noqa: S608 - quoted above


def slot(connection: Connection, name: str) -> ReplicationSlot | None:
    """A replication slot, or None. A slot whose WAL was removed keeps nothing any more."""
    row = connection.execute(
        text(
            "SELECT CASE WHEN wal_status <> 'lost' THEN restart_lsn::text END, active"
            " FROM pg_replication_slots WHERE slot_name = :name"
        ),
        {"name": name},
    ).one_or_none()
    return None if row is None else ReplicationSlot._make(row)


def recorded(connection: Connection) -> RecordedState:
    """What is recorded now."""
    last = connection.execute(select(audit.c.id, audit.c.hash).order_by(audit.c.id.desc()).limit(1)).one_or_none()
    return RecordedState(
        str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()),
        0 if last is None else int(last.id),
        bytes(32) if last is None else bytes(last.hash),
        int(connection.execute(select(func.coalesce(func.max(batch.c.number), 0))).scalar_one()),
    )
