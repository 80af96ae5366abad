"""Defaults that a role sets for itself (`ALTER ROLE … SET`) change nothing for the services that use the role."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, text

from scanweb.lookup.database import Database
from zpcode import postgres_session
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.batches.queue import IssueQueue
from zpcode.store.database.session import STATEMENT_SECONDS, connect, transaction

DEFAULTS = {
    "search_path": "pg_temp",
    "statement_timeout": "1",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "TimeZone": "Asia/Tokyo",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "row_security": "off",
}
"""What a thief sets: each of these values breaks a service or changes what it reads."""


def _set(address: str, role: str, defaults: dict[str, str]) -> None:
    """Set the defaults of a role in this database, as the role itself. No defaults: as they were."""
    own = postgres_session.options(statement_ms=0, read_only=False)
    with psycopg.connect(address, autocommit=True, options=own) as thief:
        name, database = sql.Identifier(role), sql.Identifier(thief.info.dbname)
        target = sql.SQL("ALTER ROLE {} IN DATABASE {}").format(name, database)
        thief.execute(sql.SQL("{} RESET ALL").format(target))
        for setting, value in defaults.items():
            thief.execute(sql.SQL("{} SET {} = {}").format(target, sql.Identifier(setting.lower()), sql.Literal(value)))


def _settings(connection: Any) -> dict[str, str]:
    rows = connection.execute(
        text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": list(DEFAULTS)}
    )
    return {row.name: row.setting for row in rows}


@pytest.fixture
def stolen(addresses: ServerAddresses, engine: Engine) -> Iterator[None]:
    """Both roles have the defaults of a thief."""
    database = str(engine.url.database)
    accounts = {role: getattr(addresses, name).replace("/zpcode?", f"/{database}?")
                for role, name in (("zpcode", "database"), ("zpcode_scan", "scan_database"))}  # fmt: skip
    for role, address in accounts.items():
        _set(address, role, DEFAULTS)
    yield
    for role, address in accounts.items():
        _set(address, role, {})


@pytest.mark.usefixtures("stolen")
def test_the_authority_has_its_own_settings(addresses: ServerAddresses) -> None:
    engine = connect(addresses.database, pool_size=1)
    with transaction(engine) as connection:
        settings = _settings(connection)
        assert connection.scalar(text("SELECT count(*) FROM card_head")) == 1
    engine.dispose()
    assert settings == {
        "search_path": "public,pg_temp",
        "statement_timeout": str(STATEMENT_SECONDS * 1000),
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "standard_conforming_strings": "on",
        "transform_null_equals": "off",
        "array_nulls": "on",
        "row_security": "on",
    }


@pytest.mark.usefixtures("stolen")
def test_the_scan_service_reads_its_view(addresses: ServerAddresses) -> None:
    async def read() -> dict[str, str]:
        database = Database(addresses.scan_database, limit=1, deadline=5)
        await database.open()
        assert (await database.head()).revision >= 0
        assert database._engine is not None
        async with database._engine.connect() as connection:
            rows = await connection.execute(
                text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"), {"names": list(DEFAULTS)}
            )
            settings = {row.name: row.setting for row in rows}
        await database.close()
        return settings

    settings = asyncio.run(read())
    assert settings["search_path"] == "public,pg_temp"
    assert settings["statement_timeout"] == "4500"
    assert settings["default_transaction_read_only"] == "on"


@pytest.mark.usefixtures("stolen")
def test_orders_are_queued(addresses: ServerAddresses) -> None:
    """The job queue has its own connections."""
    with IssueQueue(addresses.database) as queue:
        assert queue.defer_issue(7)
