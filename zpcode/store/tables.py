"""Every table, once, for SQLAlchemy Core. The DDL itself is in `migrations/versions/*.sql`.

Reflected by hand rather than at start-up, so that a typo in a column is a type error and a process starts
without a query. A test compares this with the migrated database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import CIDR, JSONB

metadata = MetaData()


def _moment(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _bilingual(name: str) -> Column[object]:
    return Column(name, JSONB)


enterprise = Table(
    "enterprise",
    metadata,
    Column("uscc", String(18), primary_key=True),
    _bilingual("name"),
    Column("region", String(6)),
    Column("industry", Text),
    _bilingual("address"),
    Column("contact", Text),
    Column("phone", Text),
    Column("email", Text),
    Column("website", Text),
    _bilingual("story"),
    Column("code_quota", BigInteger),
    _moment("created_at"),
    _moment("updated_at"),
)

standard = Table(
    "standard",
    metadata,
    Column("number", Text, primary_key=True),
    Column("registration", Text),
    _bilingual("title"),
    Column("kind", Text),
    Column("status", Text),
    Column("version", Text),
    Column("text_url", Text),
    Column("in_force_from", Date),
    Column("replaced_by", Text),
    _moment("updated_at"),
)

standard_version = Table(
    "standard_version",
    metadata,
    Column("number", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("record", JSONB),
    Column("replaced_at", DateTime(timezone=True), primary_key=True),
)

certification_body = Table(
    "certification_body",
    metadata,
    Column("code", Text, primary_key=True),
    _bilingual("name"),
    Column("approval", Text),
    Column("website", Text),
    _moment("updated_at"),
)

product = Table(
    "product",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("uscc", String(18)),
    _bilingual("name"),
    Column("brand", Text),
    Column("model", Text),
    _bilingual("category"),
    Column("tier", Text),
    Column("image", Text),
    Column("mark", Text),
    Column("image_developed", JSONB(none_as_null=True)),
    Column("mark_developed", JSONB(none_as_null=True)),
    _moment("updated_at"),
)

product_standard = Table(
    "product_standard",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("number", Text, primary_key=True),
    Column("position", Integer),
)

certificate = Table(
    "certificate",
    metadata,
    Column("number", Text, primary_key=True),
    Column("uscc", String(18)),
    Column("body_code", Text),
    Column("kind", Text),
    Column("rule", Text),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("accepted", Boolean),
    _moment("updated_at"),
)

product_certificate = Table(
    "product_certificate",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("number", Text, primary_key=True),
    Column("position", Integer),
)

recognition = Table(
    "recognition",
    metadata,
    Column("number", Text, primary_key=True),
    Column("gtin", String(14)),
    Column("path", Text),
    Column("valid_from", Date),
    Column("valid_to", Date),
    Column("old_stock", Text),
    Column("certificate", Text),
    Column("declaration_number", Text),
    Column("declaration_url", Text),
    Column("guarantee_number", Text),
    _bilingual("guarantor"),
    _bilingual("transferred_scheme"),
    Column("transferred_number", Text),
    _moment("updated_at"),
)

indicator = Table(
    "indicator",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    _bilingual("name"),
    Column("direction", Text),
    Column("unit", Text),
    _bilingual("product_value"),
    _bilingual("standard_value"),
    _bilingual("national_value"),
    _bilingual("benchmark_value"),
    Column("method", Text),
    Column("report", Text),
)

commitment = Table(
    "commitment",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text),
    _bilingual("text"),
    _bilingual("insurer"),
    Column("policy", Text),
    Column("phone", Text),
)

claim = Table(
    "claim",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text),
    _bilingual("text"),
    Column("value", Text),
    Column("unit", Text),
    Column("evidence", Text),
    Column("evidence_url", Text),
    _bilingual("issuer"),
    Column("valid_to", Date),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("secret_hash", LargeBinary),
    Column("role", Text),
    Column("subject", Text),
    Column("label", Text),
    _moment("created_at"),
    _moment("revoked_at"),
    _moment("last_used_at"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request_hash", LargeBinary),
    Column("batch", BigInteger),
    _moment("created_at"),
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
    _moment("created_at"),
    _moment("issued_at"),
    _moment("activated_at"),
    Column("problem", Text),
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
    _bilingual("note"),
    Column("notice", Text),
    _moment("effective_at"),
    Column("state", Text),
    Column("lifts", Text),
    Column("uscc", String(18)),
    Column("decided_by", Text),
    _bilingual("authority"),
    _moment("created_at"),
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
    _moment("first_at"),
    Column("first_city", Text),
    _moment("last_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, primary_key=True),
    _moment("at"),
    Column("actor", Text),
    Column("action", Text),
    Column("object", Text),
    Column("detail", JSONB),
    Column("previous", LargeBinary),
    Column("hash", LargeBinary),
)

complaint = Table(
    "complaint",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("number", Text),
    _moment("received_at"),
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
    _moment("ended_at"),
    Column("follow_hash", LargeBinary),
    Column("ticket", LargeBinary),
    Column("likeness", LargeBinary),
)

complaint_event = Table(
    "complaint_event",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("complaint", BigInteger),
    Column("step", Text),
    _moment("at"),
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

trace_event = Table(
    "trace_event",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("batch", BigInteger),
    Column("gtin", String(14)),
    Column("lot", Text),
    Column("uscc", String(18)),
    Column("kind", Text),
    _moment("at"),
    Column("precision", Text),
    _bilingual("place"),
    _bilingual("done_by"),
    _bilingual("note"),
    Column("document", Text),
    Column("supersedes", BigInteger),
    Column("recorded_by", Text),
    _moment("recorded_at"),
    _moment("withdrawn_at"),
    Column("withdrawn_by", Text),
    Column("withdrawal", Text),
)
