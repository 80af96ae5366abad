"""Databases of single tests: made from a template, dropped when nobody is connected any more."""

from __future__ import annotations

import time
from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

WAIT_SECONDS = 10.0
_OTHERS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND usename = 'zpcode_scan'")


def drop(connection: Connection, name: str) -> None:
    """Drop a database; `connection` is in autocommit and on another database.

    The tests' role may not end sessions of the scan role or of autovacuum. Both go by themselves: a closed session
    within moments, autovacuum after its round. A database that is in use for longer is left to the server's own end.
    """
    end = time.monotonic() + WAIT_SECONDS
    while connection.execute(_OTHERS, {"name": name}).scalar() and time.monotonic() < end:
        time.sleep(0.01)
    while time.monotonic() < end:
        with suppress(DBAPIError):
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            return
        time.sleep(0.1)
