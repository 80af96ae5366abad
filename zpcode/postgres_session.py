"""The settings of a connection to PostgreSQL, for the authority and the scan service.

Each role may set its own defaults for later sessions (`ALTER ROLE … SET`). Who has stolen a password could thus have the
service find no table, break off each statement or wait without end, long after the password was changed. What a client asks
for at the start of a connection comes before such defaults, so the services ask for all that they rely on.
"""

from __future__ import annotations


def options(*, statement_ms: int, read_only: bool) -> str:
    """The libpq parameter `options`. `statement_ms`: after so many milliseconds the server breaks a statement off."""
    settings = {
        "search_path": "public,pg_temp",  # pg_temp last, else it is first
        "statement_timeout": f"{statement_ms}",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "default_transaction_read_only": "on" if read_only else "off",
        "default_transaction_isolation": r"read\ committed",
        "default_transaction_deferrable": "off",
        "TimeZone": "UTC",
        "DateStyle": "ISO,MDY",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "standard_conforming_strings": "on",
        "transform_null_equals": "off",
        "array_nulls": "on",
        "row_security": "on",
    }
    return " ".join(f"-c {name}={value}" for name, value in settings.items())
