"""Connections, transactions, migrations and roles: what every other room of `store` stands on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from zpcode.errors import Text, Unavailable

# SQLAlchemy's name stops here: what stands above the store knows these two types and no more of it.
__all__ = ["Connection", "Engine", "connect", "migrate", "transaction"]

STATEMENT_SECONDS = 30
_MIGRATIONS = Path(__file__).parent / "migrations"


def connect(url: str, *, pool_size: int = 10) -> Engine:
    """An engine on a libpq URL (`postgresql://…`). Nothing is opened yet.

    Connections are checked before use, time out after 3 s, and no statement runs longer than 30 s.
    Raises Unavailable where the URL is not one.
    """
    try:
        return create_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=5,
            hide_parameters=True,  # an error's text reaches the log; keys of batches are among the parameters
            connect_args={
                "connect_timeout": 3,
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c timezone=UTC",
            },
        )
    except ArgumentError:
        raise Unavailable(
            Text(
                "ZPCODE_DATABASE_URL 不是数据库地址，应为 postgresql://用户:口令@主机/库名",
                "ZPCODE_DATABASE_URL is no database address: postgresql://user:password@host/name",
            )
        ) from None  # its text holds the password


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back by any error.

    Raises Unavailable where PostgreSQL cannot be reached or goes away in the middle.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except (DBAPIError, PoolTimeoutError) as error:
        if isinstance(error, (OperationalError, PoolTimeoutError)) or error.connection_invalidated:
            raise Unavailable(
                Text("数据库暂时无法访问，请稍后再试", "the database cannot be reached just now; try again shortly")
            ) from error
        raise


def migrate(engine: Engine, *, scan_role: str | None = None) -> None:
    """Bring the schema to the newest revision; let `scan_role` read the scan view and nothing else.

    Two processes migrating at once wait for each other (advisory lock).
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(7283001)"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        if scan_role:
            role = connection.dialect.identifier_preparer.quote(scan_role)
            connection.execute(text(f"GRANT SELECT ON scan_view TO {role}"))
