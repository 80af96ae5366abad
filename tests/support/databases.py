"""Databases of single tests: copied from a template, dropped when no session is connected any more."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import DBAPIError

from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.store.database.session import connect

T = TypeVar("T")
WAIT_SECONDS = 10.0
_NUMBERS = itertools.count(1)
_OWNERS: dict[str, str] = {}
_OTHERS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND usename <> 'zpcode_owner'")


@dataclass(frozen=True, slots=True)
class Furnished(Generic[T]):
    """A database with something in it, to be copied for each test, and the names of what is in it."""

    database: str
    content: T


def furnish(servers: Servers, migrated: str, fill: Callable[[Engine], T]) -> Furnished[T]:
    """Make a database and fill it. No session is connected to it afterwards, so it can be a template."""
    name = f"furnished_{next(_NUMBERS)}"
    with administrator(servers.addresses) as connection:
        copy(connection, migrated, name)
    engine = connect(addresses_of(servers.addresses, name).database, pool_size=5)
    content = fill(engine)
    engine.dispose()
    return Furnished(name, content)


@contextmanager
def as_owner(engine: Engine) -> Iterator[Connection]:
    """A transaction on the engine's database as the role that owns the tables: for what the authority must not do."""
    url = engine.url
    password = _OWNERS[str(url.query["host"])]
    owner = connect(
        url.set(username="zpcode_owner", password=password).render_as_string(hide_password=False), pool_size=1
    )
    try:
        with owner.begin() as connection:
            yield connection
    finally:
        owner.dispose()


def remember_owner(addresses: ServerAddresses) -> None:
    """Let `as_owner` find the password of the owner on these servers."""
    url = make_url(addresses.owner_database)
    assert url.password is not None
    _OWNERS[str(url.query["host"])] = url.password


@contextmanager
def administrator(addresses: ServerAddresses) -> Iterator[Connection]:
    """A connection to the administrative database, in autocommit: databases are made and dropped outside transactions."""
    engine = connect(addresses.owner_database.replace("/zpcode?", "/postgres?"), pool_size=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


def copy(connection: Connection, template: str, name: str) -> None:
    """Make a database from a template, file by file: less work than by way of the log, which is the default."""
    connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
    connection.execute(text(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"))  # a copy has not the grants of its template
    connection.execute(text(f"GRANT CONNECT ON DATABASE {name} TO zpcode, zpcode_scan, zpcode_backup"))


def addresses_of(addresses: ServerAddresses, name: str) -> ServerAddresses:
    """The same servers, another database."""
    swap = ("/zpcode?", f"/{name}?")
    return replace(
        addresses,
        owner_database=addresses.owner_database.replace(*swap),
        database=addresses.database.replace(*swap),
        scan_database=addresses.scan_database.replace(*swap),
    )


def drop(connection: Connection, name: str) -> None:
    """Drop a database; `connection` is in autocommit and on another database.

    The tests' role may not end sessions of the scan role or of autovacuum. Both end without help: a closed session
    within moments, autovacuum after its round. A database that is in use for longer stays until the server is removed.
    """
    end = time.monotonic() + WAIT_SECONDS
    while connection.execute(_OTHERS, {"name": name}).scalar() and time.monotonic() < end:
        time.sleep(0.01)
    while time.monotonic() < end:
        with suppress(DBAPIError):
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            return
        time.sleep(0.1)
