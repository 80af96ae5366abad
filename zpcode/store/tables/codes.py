"""The tables of batches, decisions, journey events, cards and drained scans."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import CIDR

from zpcode.store.tables.columns import bilingual, metadata, moment

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary),
    Column("batch", BigInteger),
    moment("created_at"),
)

batch = Table(
    "batch",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("uscc", String(18)),
    Column("gtin", String(14)),
    Column("level", Text),
    Column("quantity", BigInteger),
    Column("lot", Text),
    Column("production_date", Date),
    Column("expiry_date", Date),
    Column("format", Text),
    Column("base", Text),
    Column("permutation_key", LargeBinary),
    Column("check_key", LargeBinary),
    Column("key_id", Text),
    Column("state", Text),
    Column("sha256", Text),
    Column("bytes", BigInteger),
    Column("activation", Text),
    Column("created_by", Text),
    moment("created_at"),
    moment("issued_at"),
    moment("activated_at"),
    Column("problem", Text),
    Column("signatures_sha256", Text),
    moment("file_removed_at"),
    moment("file_requested_at"),
)

status_change = Table(
    "status_change",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("scope", Text),
    Column("target", Text),
    Column("first", BigInteger),
    Column("last", BigInteger),
    Column("action", Text),
    Column("reason", Text),
    Column("legal_basis", Text),
    bilingual("note"),
    Column("notice", Text),
    moment("effective_at"),
    Column("state", Text),
    Column("lifts", Text),
    Column("uscc", String(18)),
    Column("decided_by", Text),
    bilingual("authority"),
    moment("created_at"),
)

card = Table(
    "card",
    metadata,
    Column("key", Text, primary_key=True),
    Column("revision", BigInteger),
    Column("body", LargeBinary),
)

card_head = Table(
    "card_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger),
    Column("turned_on", Date),
)

scan = Table(
    "scan",
    metadata,
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("entry", Text, primary_key=True),
    Column("gtin", String(14)),
    Column("lot", Text),
    Column("batch", BigInteger),
    Column("index", BigInteger),
    Column("verdict", Text),
    Column("city", Text),
    Column("network", CIDR),
    Column("visitor", LargeBinary),
    Column("language", Text),
    Column("channel", Text),
)

item_history = Table(
    "item_history",
    metadata,
    Column("batch", BigInteger, primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("scans", BigInteger),
    moment("first_at"),
    Column("first_city", Text),
    moment("last_at"),
)

trace_event = Table(
    "trace_event",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("batch", BigInteger),
    Column("gtin", String(14)),
    Column("lot", Text),
    Column("uscc", String(18)),
    Column("kind", Text),
    moment("at"),
    Column("precision", Text),
    bilingual("place"),
    bilingual("done_by"),
    bilingual("note"),
    Column("document", Text),
    Column("supersedes", BigInteger),
    Column("recorded_by", Text),
    moment("recorded_at"),
    moment("withdrawn_at"),
    Column("withdrawn_by", Text),
    Column("withdrawal", Text),
)
