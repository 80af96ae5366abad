"""The tables of the registry, for SQLAlchemy Core. The DDL is in `migrations/versions/*.sql`.

Tables are written down here and not read from the database at start-up, so a process starts without a query. A test
compares them with the migrated database.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from zpcode.store.tables.columns import bilingual, metadata, moment

enterprise = Table(
    "enterprise",
    metadata,
    Column("uscc", String(18), primary_key=True),
    bilingual("name"),
    Column("region", String(6)),
    Column("industry", Text),
    bilingual("address"),
    Column("contact", Text),
    Column("phone", Text),
    Column("email", Text),
    Column("website", Text),
    bilingual("story"),
    Column("code_quota", BigInteger),
    moment("created_at"),
    moment("updated_at"),
)

standard = Table(
    "standard",
    metadata,
    Column("number", Text, primary_key=True),
    Column("registration", Text),
    bilingual("title"),
    Column("kind", Text),
    Column("status", Text),
    Column("version", Text),
    Column("text_url", Text),
    Column("in_force_from", Date),
    Column("replaced_by", Text),
    moment("updated_at"),
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
    bilingual("name"),
    Column("approval", Text),
    Column("website", Text),
    moment("updated_at"),
)

product = Table(
    "product",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("uscc", String(18)),
    bilingual("name"),
    Column("brand", Text),
    Column("model", Text),
    bilingual("category"),
    Column("tier", Text),
    Column("image", Text),
    Column("mark", Text),
    Column("image_developed", JSONB(none_as_null=True)),
    Column("mark_developed", JSONB(none_as_null=True)),
    moment("updated_at"),
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
    moment("updated_at"),
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
    bilingual("guarantor"),
    bilingual("transferred_scheme"),
    Column("transferred_number", Text),
    moment("updated_at"),
)

indicator = Table(
    "indicator",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    bilingual("name"),
    Column("direction", Text),
    Column("unit", Text),
    bilingual("product_value"),
    bilingual("standard_value"),
    bilingual("national_value"),
    bilingual("benchmark_value"),
    Column("method", Text),
    Column("report", Text),
)

commitment = Table(
    "commitment",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text),
    bilingual("text"),
    bilingual("insurer"),
    Column("policy", Text),
    Column("phone", Text),
)

claim = Table(
    "claim",
    metadata,
    Column("gtin", String(14), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Text),
    bilingual("text"),
    Column("value", Text),
    Column("unit", Text),
    Column("evidence", Text),
    Column("evidence_url", Text),
    bilingual("issuer"),
    Column("valid_to", Date),
)
