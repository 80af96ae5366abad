"""What the superuser takes from the roles of the scan service and of the backups, tried with these roles."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from tests.support import databases
from zpcode.embedded import roles
from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.store import locks
from zpcode.store.database.session import connect, transaction
from zpcode.store.locks import Lock

_FUNCTIONS = """
    SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    AND (proname LIKE '%advisory%' OR proname LIKE 'lo\\_%' OR proname IN ('loread', 'lowrite', 'pg_logical_emit_message'))
"""


def connect_often(address: str, times: int, stack: ExitStack) -> None:
    """Open connections, which `stack` closes."""
    for _ in range(times):
        stack.enter_context(psycopg.connect(address))


def test_readers_may_execute_no_function_that_locks_or_stores(engine: Engine) -> None:
    with transaction(engine) as connection:
        functions = list(connection.execute(text(_FUNCTIONS)).scalars())
        allowed = {
            (role, name)
            for role in ("zpcode_scan", "zpcode_backup", "public")
            for name in functions
            if connection.scalar(text("SELECT has_function_privilege(:r, :f, 'EXECUTE')"), {"r": role, "f": name})
        }
    assert len(functions) > 40
    assert allowed == set()


@pytest.mark.parametrize("role", ["scan_database", "backup_database"])
def test_a_reader_cannot_keep_the_lock_of_the_audit_log(addresses: ServerAddresses, engine: Engine, role: str) -> None:
    database = engine.url.database
    address: str = getattr(addresses, role).replace("/zpcode?", f"/{database}?")
    for call in ("pg_advisory_lock(%s)", "pg_try_advisory_lock_shared(%s)", "pg_advisory_xact_lock(%s)"):
        with psycopg.connect(address) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT {call}", (Lock.AUDIT.value,))
    with transaction(engine) as connection:
        locks.hold(connection, Lock.AUDIT)


def test_the_scan_role_leaves_connections_to_the_authority(addresses: ServerAddresses, engine: Engine) -> None:
    with ExitStack() as stack:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            connect_often(addresses.scan_database, 41, stack)
        with transaction(engine) as connection:
            assert connection.scalar(text("SELECT 1")) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "SET temp_file_limit = -1",
        "ALTER ROLE zpcode_scan RESET temp_file_limit",
        "ALTER ROLE zpcode_scan CONNECTION LIMIT 200",
    ],
)
def test_the_scan_role_cannot_raise_its_bounds(addresses: ServerAddresses, statement: str) -> None:
    with psycopg.connect(addresses.scan_database) as reader:
        reader.read_only = False  # a default, which it may switch off
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement)
    with psycopg.connect(addresses.scan_database) as reader:
        assert reader.execute("SHOW temp_file_limit").fetchone() == ("64MB",)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_readers_enter_no_other_database(servers: Servers, database: str) -> None:
    for address in (servers.addresses.scan_database, servers.addresses.backup_database):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(address.replace("/zpcode?", f"/{database}?"))


def test_no_trigger_notifies(engine: Engine) -> None:
    """Every role may fill the queue of notifications; a transaction that notifies then fails."""
    with transaction(engine) as connection:
        query = "SELECT tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE p.prosrc ~* 'notify'"
        assert connection.execute(text(query)).all() == []


def test_own_servers_get_the_same_statements(root: Path) -> None:
    deployed = (root / "deploy" / "postgres-roles.sql").read_text("utf-8")
    assert roles.SERVER in deployed
    assert roles.DATABASE in deployed.partition("\\connect zpcode\n")[2]


def test_open_locks_of_a_database_that_no_superuser_closed_are_noticed(servers: Servers, engine: Engine) -> None:
    """`zpcode migrate` then warns. A role that does not exist is no danger."""
    with databases.administrator(servers.addresses) as connection:
        connection.execute(text("CREATE DATABASE opened"))
        opened = connect(databases.addresses_of(servers.addresses, "opened").owner_database, pool_size=1)
        with transaction(opened) as inside:
            assert locks.open_to(inside, "zpcode_scan")
            assert not locks.open_to(inside, "nobody_at_all")
        opened.dispose()
        databases.drop(connection, "opened")
    with transaction(engine) as connection:
        assert not locks.open_to(connection, "zpcode_scan")
