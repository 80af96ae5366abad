"""The tables of high-water marks and of recoveries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from zpcode.store.tables.columns import metadata, moment

continuity = Table(
    "continuity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("installation", Text),
    Column("recoveries", BigInteger),
    moment("behind_since"),
    moment("doubted_since"),
    Column("evidence", JSONB),
    Column("head_key", Text),
)

recovery = Table(
    "recovery",
    metadata,
    Column("id", BigInteger, primary_key=True),
    moment("at"),
    Column("actor", Text),
    Column("audit", BigInteger),
    Column("taken_in", JSONB),
)

lost_batch = Table(
    "lost_batch",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("recovery", BigInteger),
    Column("card", LargeBinary),
    Column("signed", Boolean),
)

held_decision = Table(
    "held_decision",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("target", Text, primary_key=True),
    Column("first", BigInteger, primary_key=True),
    Column("last", BigInteger, primary_key=True),
    Column("recovery", BigInteger, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("timeline", LargeBinary),
    moment("confirmed_at"),
    moment("rejected_at"),
)

held_activation = Table(
    "held_activation",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("recovery", BigInteger),
    moment("activated_at"),
)

kept_card = Table(
    "kept_card",
    metadata,
    Column("key", Text, primary_key=True),
    Column("recovery", BigInteger),
    Column("body", LargeBinary),
)
