"""The tables of complaints."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from zpcode.store.tables.columns import metadata, moment

complaint = Table(
    "complaint",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("number", Text),
    moment("received_at"),
    Column("kind", Text),
    Column("description", Text),
    Column("place", Text),
    Column("code", Text),
    Column("language", Text),
    Column("proof", Text),
    Column("gtin", String(14)),
    Column("uscc", String(18)),
    Column("region", String(6)),
    Column("state", Text),
    moment("ended_at"),
    Column("follow_hash", LargeBinary),
    Column("ticket", LargeBinary),
    Column("likeness", LargeBinary),
    Column("over_budget", Boolean),
)

complaint_event = Table(
    "complaint_event",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("complaint", BigInteger),
    Column("step", Text),
    moment("at"),
    Column("taken_by", Text),
    Column("authority", JSONB),
    Column("text", Text),
    Column("region", String(6)),
)

complaint_contact = Table(
    "complaint_contact",
    metadata,
    Column("complaint", BigInteger, primary_key=True),
    Column("contact", Text),
    Column("salt", LargeBinary),
)

complaint_photo = Table(
    "complaint_photo",
    metadata,
    Column("complaint", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("jpeg", LargeBinary),
)

complaint_secret = Table(
    "complaint_secret",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("secret", LargeBinary),
)
