"""What the application's role may do in the database: the least that the services need, table by table.

A migration role owns every table, sequence and function. The application's role owns nothing, so it can switch off no trigger and
change no table. `zpcode migrate` grants this list again each time; a test compares it with the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sqlalchemy import Connection, text

_ADD: Final = "SELECT, INSERT"
_CHANGE: Final = "SELECT, INSERT, UPDATE"
_REPLACE: Final = "SELECT, INSERT, DELETE"
_ALL_ROWS: Final = "SELECT, INSERT, UPDATE, DELETE"

TABLES: Final = {
    "alembic_version": "SELECT",
    "api_key": "SELECT, INSERT, UPDATE (revoked_at, last_used_at)",
    "audit": _ADD,
    "batch": _CHANGE,
    "card": _CHANGE,
    "card_head": "SELECT, UPDATE",
    "certificate": _CHANGE,
    "certification_body": _CHANGE,
    "claim": _REPLACE,
    "commitment": _REPLACE,
    "complaint": _CHANGE,
    "complaint_contact": _REPLACE,
    "complaint_event": _ADD,
    "complaint_photo": _REPLACE,
    "complaint_secret": "SELECT",
    "continuity": "SELECT, UPDATE",
    "enterprise": _CHANGE,
    "held_activation": _ALL_ROWS,
    "held_decision": _CHANGE,
    "idempotency": _CHANGE,
    "indicator": _REPLACE,
    "item_history": _CHANGE,
    "kept_card": _ALL_ROWS,
    "lost_batch": _ALL_ROWS,
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
    "standard_version": _CHANGE,
    "status_change": _ADD,
    "trace_event": "SELECT, INSERT, UPDATE (withdrawn_at, withdrawn_by, withdrawal)",
}
"""The privileges on each table and view. Partitions of `scan` have none: they are read and written through `scan`."""
QUEUE_PREFIX: Final = "procrastinate_"
"""Tables of the job queue, which Procrastinate reads and writes in every way."""
_FUNCTIONS: Final = ("make_scan_partition(date)", "drop_scan_partition(date)")
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
            yield f"GRANT USAGE, SELECT, UPDATE ON SEQUENCE {name} TO {role}"
            continue
        yield f"REVOKE ALL ON {name} FROM {role}"
        privileges = _ALL_ROWS if name.startswith(QUEUE_PREFIX) else TABLES.get(name)
        if privileges:
            yield f"GRANT {privileges} ON {name} TO {role}"
    for function in _FUNCTIONS:
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
