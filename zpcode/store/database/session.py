"""Connections, transactions and migrations: the base of every other module of `store`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from zpcode import postgres_session
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Text, Unavailable
from zpcode.store import locks
from zpcode.store.database import privileges
from zpcode.store.database.liveness import PROBE_SECONDS, DatabaseLiveness, LivenessSession, sessions
from zpcode.store.locks import Lock

# Other packages import these two SQLAlchemy types from here, so that only the store imports SQLAlchemy.
__all__ = ["Connection", "Engine", "connect", "migrate", "transaction"]

STATEMENT_SECONDS = 30
_SLACK_SECONDS = 5  # the server's own time limit for a statement comes first
OPTIONS: Final = postgres_session.options(statement_ms=STATEMENT_SECONDS * 1000, read_only=False)
"""The libpq parameter `options` of every connection of the authority, whichever library opens it."""
READING_OPTIONS: Final = postgres_session.options(statement_ms=STATEMENT_SECONDS * 1000, read_only=True)
_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_AWAY: Final = Text(
    "数据库暂时无法访问或写入，请稍后再试", "the database cannot be reached or written to just now; try again shortly"
)
_UNSURE: Final = Text(
    "数据库在保存时失去联系，无法确认是否已保存；请原样重试，或先查询",
    "the connection to the database was lost while saving, so it is not known whether the data was saved; "
    "repeat the request unchanged, or check first",
)


def connect(url: str, *, pool_size: int = 10, read_only: bool = False) -> Engine:
    """An engine on a libpq URL (`postgresql://…`). Nothing is opened yet.

    Connections are checked before use and time out after 3 s. No statement runs longer than 30 s. A dead server is
    noticed after about 3 s (`zpcode.store.database.liveness`). `read_only`: transactions write nothing. Raises Unavailable if `url` is not a database URL.
    """
    try:
        engine = create_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=5,
            hide_parameters=True,  # error texts are logged, and parameters include the keys of batches
            connect_args={
                "connect_timeout": 3,
                "options": READING_OPTIONS if read_only else OPTIONS,
            },
        )
    except ArgumentError:
        raise Unavailable(
            Text(
                "ZPCODE_DATABASE_URL 不是数据库地址，应为 postgresql://用户:口令@主机/库名",
                "ZPCODE_DATABASE_URL is not a database URL: postgresql://user:password@host/name",
            )
        ) from None  # the error's text contains the password
    arguments, options = engine.dialect.create_connect_args(engine.url)
    kind = sessions(_liveness(*arguments, **options))
    engine.update_execution_options(liveness=kind.liveness)

    @event.listens_for(engine, "do_connect")
    def _(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> LivenessSession:
        return kind.connect(*arguments, **options)

    return engine


def session_class(url: str) -> type[LivenessSession]:
    """The connection class for another library's pool on a libpq URL, with the same time limits as `connect`."""
    return sessions(_liveness(url))


def _liveness(*arguments: Any, **options: Any) -> DatabaseLiveness:
    def probe() -> None:
        psycopg.connect(*arguments, **options | {"connect_timeout": PROBE_SECONDS}).close()

    return DatabaseLiveness(probe, statement=STATEMENT_SECONDS + _SLACK_SECONDS)


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back by any error.

    Raises Unavailable if PostgreSQL cannot be reached, disconnects during the transaction, or cannot write.
    """
    away = _AWAY
    try:
        engine.get_execution_options()["liveness"].check()
        with engine.begin() as connection:
            yield connection
            away = _UNSURE
    except psycopg.OperationalError as error:
        raise Unavailable(_AWAY) from error
    except (DBAPIError, PoolTimeoutError) as error:
        if _is_outage(error):
            raise Unavailable(away) from error
        raise


def _is_outage(error: DBAPIError | PoolTimeoutError) -> bool:
    """Whether the server is the cause (gone, full, or an internal error, SQLSTATE class XX) and not the statement."""
    if isinstance(error, (OperationalError, PoolTimeoutError)) or error.connection_invalidated:
        return True
    return (getattr(error.orig, "sqlstate", None) or "").startswith("XX")


def migrate(
    engine: Engine, *, application_role: str | None = None, scan_role: str | None = None, revision: str = "head"
) -> None:
    """Upgrade the schema to the newest revision, or to `revision`, as the role that owns the tables.

    `application_role` gets what `zpcode.store.database.privileges` lists, `scan_role` SELECT on the scan view and nothing else.

    Only one process migrates at a time (advisory lock).
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        locks.hold(connection, Lock.MIGRATION)
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if revision == "head":
            privileges.grant(connection, application_role=application_role, scan_role=scan_role)


def migrate_embedded(addresses: ServerAddresses) -> None:
    """Upgrade the database of embedded servers as its owner, and give their roles their privileges."""
    engine = connect(addresses.owner_database, pool_size=1)
    try:
        migrate(engine, application_role="zpcode", scan_role="zpcode_scan")
    finally:
        engine.dispose()
