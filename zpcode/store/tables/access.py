"""The tables of API keys and of the audit log."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from zpcode.store.tables.columns import metadata, moment

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", LargeBinary),
    Column("role", Text),
    Column("subject", Text),
    Column("label", Text),
    moment("created_at"),
    moment("revoked_at"),
    moment("last_used_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True),
    moment("at"),
    Column("actor", Text),
    Column("action", Text),
    Column("object", Text),
    Column("detail", JSONB),
    Column("previous", LargeBinary),
    Column("hash", LargeBinary),
)
