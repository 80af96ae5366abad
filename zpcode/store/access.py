"""API keys in the database. Only the SHA-256 of a secret is stored, never the secret."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, exists, insert, select, update

from zpcode.rules.access import USE_NOTED_EVERY, ApiKey, Role
from zpcode.store.tables.access import api_key
from zpcode.store.tables.registry import enterprise


class StoredKey(NamedTuple):
    """A stored key and the SHA-256 of its secret (32 bytes)."""

    key: ApiKey
    secret_hash: bytes


def add(connection: Connection, key: ApiKey, secret_hash: bytes) -> None:
    """Write a new key."""
    connection.execute(
        insert(api_key).values(
            id=key.id,
            secret_hash=secret_hash,
            role=key.role.value,
            subject=key.subject,
            label=key.label,
            created_at=key.created_at,
        )
    )


def get(connection: Connection, id_: str, *, lock: bool = False) -> StoredKey | None:
    """The key with this id, or None. With `lock` the row stays locked until the transaction ends."""
    query = select(api_key).where(api_key.c.id == id_)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else StoredKey(_key(row), bytes(row.secret_hash))


def listing(connection: Connection, after: str, limit: int) -> list[ApiKey]:
    """Up to `limit` keys with ids greater than `after`, in the order of their ids, revoked ones too."""
    query = select(api_key).where(api_key.c.id > after).order_by(api_key.c.id).limit(limit)
    return [_key(row) for row in connection.execute(query)]


def every(connection: Connection) -> list[StoredKey]:
    """All keys in the order of their ids, revoked ones too."""
    rows = connection.execute(select(api_key).order_by(api_key.c.id))
    return [StoredKey(_key(row), bytes(row.secret_hash)) for row in rows]


def revoke(connection: Connection, id_: str, now: datetime) -> None:
    """Mark a key as revoked."""
    connection.execute(update(api_key).where(api_key.c.id == id_).values(revoked_at=now))


def note_use(connection: Connection, id_: str, now: datetime) -> None:
    """Store when a key was last used, at most once a minute in all processes together."""
    stale = api_key.c.last_used_at.is_(None) | (api_key.c.last_used_at <= now - USE_NOTED_EVERY)
    connection.execute(update(api_key).where(api_key.c.id == id_, stale).values(last_used_at=now))


def is_registered(connection: Connection, uscc: str) -> bool:
    """Whether an enterprise is in the registry."""
    return bool(connection.execute(select(exists().where(enterprise.c.uscc == uscc))).scalar())


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, Role(row.role), row.subject, row.label, row.created_at, row.revoked_at, row.last_used_at)
