"""API keys as rows. A secret never comes here: only its SHA-256 does."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, exists, insert, select, update

from zpcode.rules.access import USE_NOTED_EVERY, ApiKey, Role
from zpcode.store.tables.access import api_key
from zpcode.store.tables.registry import enterprise


class StoredKey(NamedTuple):
    """A key on record and the hash of its secret (32 bytes)."""

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
    """A key by its id; with `lock` nobody else changes it until the transaction ends."""
    query = select(api_key).where(api_key.c.id == id_)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else StoredKey(_key(row), bytes(row.secret_hash))


def listing(connection: Connection, after: str, limit: int) -> list[ApiKey]:
    """Up to `limit` keys, revoked ones too, in the order of their ids, from the one behind `after` on."""
    query = select(api_key).where(api_key.c.id > after).order_by(api_key.c.id).limit(limit)
    return [_key(row) for row in connection.execute(query)]


def revoke(connection: Connection, id_: str, now: datetime) -> None:
    """Note that a key counts no more."""
    connection.execute(update(api_key).where(api_key.c.id == id_).values(revoked_at=now))


def note_use(connection: Connection, id_: str, now: datetime) -> None:
    """Note that a key was used, at most once a minute however many processes see it used."""
    stale = api_key.c.last_used_at.is_(None) | (api_key.c.last_used_at <= now - USE_NOTED_EVERY)
    connection.execute(update(api_key).where(api_key.c.id == id_, stale).values(last_used_at=now))


def is_registered(connection: Connection, uscc: str) -> bool:
    """Whether the registry knows an enterprise."""
    return bool(connection.execute(select(exists().where(enterprise.c.uscc == uscc))).scalar())


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, Role(row.role), row.subject, row.label, row.created_at, row.revoked_at, row.last_used_at)
