"""What the application's role may do in the database: the least that the services need, table by table.

A migration role owns every table, sequence and function. The application's role owns nothing, so it can switch off no trigger and
change no table. `zpcode migrate` grants this list again each time; a test compares it with the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, Table, text

from zpcode.store.tables.codes import status_change, trace_event
from zpcode.store.tables.complaints import complaint, complaint_event

_ADD: Final = "SELECT, INSERT"
_CHANGE: Final = "SELECT, INSERT, UPDATE"
_REPLACE: Final = "SELECT, INSERT, DELETE"
ALL_ROWS: Final = "SELECT, INSERT, UPDATE, DELETE"
SEQUENCE: Final = "USAGE, SELECT"
"""For nextval and reading. With UPDATE, setval could take a sequence to its end, and no number would be left."""


def _add_numbered(table: Table) -> str:
    """Rows are added with a number from the table's sequence: the role may insert every column but `id`."""
    return f"SELECT, INSERT ({', '.join(column.name for column in table.columns if column.name != 'id')})"


TABLES: Final = {
    "alembic_version": "SELECT",
    "api_key": "SELECT, INSERT, UPDATE (revoked_at, last_used_at)",
    "audit": _ADD,
    "batch": f"{_ADD}, UPDATE (key_id, state, sha256, bytes, issued_at, activated_at, problem, signatures_sha256,"
    " file_removed_at, file_requested_at)",
    "card": _CHANGE,
    "card_head": "SELECT, UPDATE",
    "certificate": _CHANGE,
    "certification_body": _CHANGE,
    "claim": _REPLACE,
    "commitment": _REPLACE,
    "complaint": f"{_add_numbered(complaint)}, UPDATE (state, region, ended_at, likeness)",
    "complaint_contact": _REPLACE,
    "complaint_event": _add_numbered(complaint_event),
    "complaint_photo": _REPLACE,
    "complaint_secret": "SELECT",
    "continuity": "SELECT, UPDATE (recoveries, behind_since, evidence, doubted_since, head_key)",
    "enterprise": _CHANGE,
    "held_activation": ALL_ROWS,
    "held_decision": f"{_ADD}, UPDATE (confirmed_at, rejected_at)",
    "idempotency": f"{_ADD}, UPDATE (batch)",
    "indicator": _REPLACE,
    "item_history": _CHANGE,
    "kept_card": ALL_ROWS,
    "lost_batch": ALL_ROWS,
    "product": _CHANGE,
    "product_certificate": _REPLACE,
    "product_standard": _REPLACE,
    "recognition": _CHANGE,
    "recovery": _ADD,
    "scan": _ADD,
    "scan_default": "SELECT",
    "scan_partition": "SELECT",
    "scan_view": "SELECT",
    "standard": _CHANGE,
    "standard_version": _ADD,
    "status_change": _add_numbered(status_change),
    "trace_event": f"{_add_numbered(trace_event)}, UPDATE (withdrawn_at, withdrawn_by, withdrawal)",
}
"""The privileges on each table and view. Partitions of `scan` have none: they are read and written through `scan`."""
QUEUE_PREFIX: Final = "procrastinate_"
"""Tables of the job queue, which Procrastinate reads and writes in every way."""
FUNCTIONS: Final = ("make_scan_partition(date)", "drop_scan_partition(date)")
"""The functions that act with the rights of the owner; only the application's role may call them."""
TRIGGERS: Final = (
    ("audit", "audit_append_only"),
    ("audit", "audit_follows_newest"),
    ("batch", "batch_number_is_drawn"),
    ("card_head", "card_head_follows"),
    ("complaint_event", "complaint_event_append_only"),
    ("continuity", "continuity_counts_recoveries"),
    ("lost_batch", "lost_batch_number_is_drawn"),
    ("recovery", "recovery_append_only"),
    ("recovery", "recovery_follows_newest"),
    ("status_change", "status_change_append_only"),
    ("trace_event", "trace_event_append_only"),
    ("trace_event", "trace_event_only_withdrawn"),
)
"""The triggers, by table, that bind the owner of the tables too."""
_RELATIONS: Final = text(
    "SELECT c.relname AS name, c.relkind AS kind FROM pg_class c"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S') ORDER BY c.relname"
)


def grant(connection: Connection, *, application_role: str | None, scan_role: str | None) -> None:
    """Give the roles exactly their privileges on every table; the connection belongs to the owner of the tables."""
    quote = connection.dialect.identifier_preparer.quote
    statements: list[str] = []
    if application_role:
        statements += _of_application(connection, quote(application_role))
    if scan_role:
        statements.append(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {quote(scan_role)}")
        statements.append(f"GRANT SELECT ON scan_view TO {quote(scan_role)}")
    for statement in statements:
        connection.execute(text(statement))


def _of_application(connection: Connection, role: str) -> Iterator[str]:
    for name, kind in connection.execute(_RELATIONS).all():
        if kind == "S":
            yield f"REVOKE ALL ON SEQUENCE {name} FROM {role}"
            yield f"GRANT {SEQUENCE} ON SEQUENCE {name} TO {role}"
            continue
        yield f"REVOKE ALL ON {name} FROM {role}"
        privileges = ALL_ROWS if name.startswith(QUEUE_PREFIX) else TABLES.get(name)
        if privileges:
            yield f"GRANT {privileges} ON {name} TO {role}"
    for function in FUNCTIONS:
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
