"""What the application's role must not do, tried on every table of the catalogue."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from tests.support.patience import eventually
from zpcode.services import scans
from zpcode.store import continuity
from zpcode.store import scans as store
from zpcode.store.database import privileges
from zpcode.store.database.session import transaction

_RELATIONS = (
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v')"
    " ORDER BY 1"
)
_DENIED = ("permission denied", "must be owner")


def relations(connection: Connection) -> list[str]:
    """Every table and view."""
    return list(connection.execute(text(_RELATIONS)).scalars())


def refused(engine: Engine, statement: str) -> bool:
    """Whether the database refuses a statement for lack of rights; what it permits is rolled back."""
    with engine.connect() as connection:
        try:
            connection.execute(text(statement))
        except DBAPIError as error:
            return any(words in str(error.orig) for words in _DENIED)
        finally:
            connection.rollback()
    return False


def test_every_table_is_in_the_list_of_privileges(engine: Engine) -> None:
    """Partitions of `scan` have no privileges themselves; the queue's tables are recognised by their prefix."""
    with transaction(engine) as connection:
        partitions = set(
            connection.execute(
                text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'scan'::regclass")
            ).scalars()
        )
        listed = {name for name in relations(connection) if not name.startswith(privileges.QUEUE_PREFIX)}
    assert listed - (partitions - {"scan_default"}) == set(privileges.TABLES)


def test_the_application_owns_nothing(engine: Engine) -> None:
    with transaction(engine) as connection:
        owned = connection.execute(
            text(
                "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = current_user"
                " UNION ALL SELECT proname FROM pg_proc WHERE pg_get_userbyid(proowner) = current_user"
                " UNION ALL SELECT nspname FROM pg_namespace WHERE pg_get_userbyid(nspowner) = current_user"
                " UNION ALL SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) = current_user"
            )
        ).scalars()
        assert list(owned) == []
        attributes: Any = connection.execute(
            text("SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles"
                 " WHERE rolname = current_user")
        ).one()  # fmt: skip
        assert not any(attributes)


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE {}",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "ALTER TABLE {} ADD COLUMN attack int",
        "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE {} OWNER TO current_user",
        "DROP TABLE {} CASCADE",
        "CREATE RULE attack AS ON INSERT TO {} DO INSTEAD NOTHING",
        "CREATE INDEX attack ON {} ((1))",
        "GRANT ALL ON {} TO PUBLIC",
    ],
)
def test_no_table_can_be_emptied_altered_or_dropped(engine: Engine, statement: str) -> None:
    with transaction(engine) as connection:
        tables = [name for name in relations(connection) if name != "scan_view"]
    permitted = [name for name in tables if not refused(engine, statement.format(name))]
    assert permitted == [] or statement.startswith("GRANT")  # without any right, GRANT only warns
    with transaction(engine) as connection:
        granted = "SELECT grantee FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' AND table_schema = 'public'"
        assert connection.execute(text(granted)).all() == []


@pytest.mark.parametrize(
    "table",
    sorted(name for name, rights in privileges.TABLES.items() if "UPDATE" not in rights and name != "scan_view"),
)
def test_what_is_only_added_is_not_changed_or_deleted(engine: Engine, table: str) -> None:
    with transaction(engine) as connection:
        column = connection.execute(
            text(
                "SELECT attname FROM pg_attribute WHERE attrelid = cast(:name AS regclass) AND attnum > 0 AND attidentity = ''"
                " ORDER BY attnum LIMIT 1"
            ),
            {"name": table},
        ).scalar_one()
    assert refused(engine, f"UPDATE {table} SET {column} = {column}")  # noqa: S608 - names of the catalogue
    if "DELETE" not in privileges.TABLES[table]:
        assert refused(engine, f"DELETE FROM {table}")  # noqa: S608 - names of the catalogue


@pytest.mark.parametrize("sequence", [*continuity.SEQUENCES.values(), "procrastinate_jobs_id_seq"])
def test_no_sequence_can_be_moved_to_its_end(engine: Engine, sequence: str) -> None:
    """Nor back: a number is drawn, and nothing else."""
    for statement in (
        f"SELECT setval('{sequence}', 67108863)",
        f"SELECT setval('{sequence}', 1, false)",
        f"ALTER SEQUENCE {sequence} RESTART",
        f"ALTER SEQUENCE {sequence} INCREMENT 1000000",
    ):
        assert refused(engine, statement)
    with transaction(engine) as connection:
        first, second = (connection.scalar(text(f"SELECT nextval('{sequence}')")) for _ in range(2))
    assert second == first + 1


def test_records_are_only_added(engine: Engine) -> None:
    for table in ("audit", "status_change", "complaint_event", "recovery", "scan"):
        assert re.fullmatch(r"SELECT, INSERT( \([a-z_, ]*\))?", privileges.TABLES[table])
        assert refused(engine, f"DELETE FROM {table}")  # noqa: S608 - names of this test


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE api_key SET secret_hash = secret_hash",
        "UPDATE api_key SET role = 'operator', subject = '*'",
        "DELETE FROM api_key",
        "UPDATE trace_event SET kind = kind",
        "UPDATE alembic_version SET version_num = '0001'",
        "UPDATE complaint_secret SET secret = secret",
        "CREATE TABLE attack (a int)",
        "CREATE FUNCTION attack() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "ALTER FUNCTION make_scan_partition(date) SECURITY INVOKER",
        "DROP FUNCTION audit_is_append_only() CASCADE",
        "DROP SEQUENCE batch_number",
        "CREATE SCHEMA attack",
        "DROP SCHEMA public CASCADE",
        "SET session_replication_role = replica",
        "SET ROLE zpcode_owner",
        "ALTER ROLE zpcode CREATEDB",
        "COPY audit TO PROGRAM 'cat'",
        "INSERT INTO scan_partition VALUES ('2020-01-01', now())",
    ],
)
def test_the_rest_is_refused_too(engine: Engine, statement: str) -> None:
    if statement.startswith(("SET session", "SET ROLE", "ALTER ROLE", "COPY")):
        with pytest.raises(DBAPIError, match="permission denied"), engine.begin() as connection:
            connection.execute(text(statement))
    else:
        assert refused(engine, statement)


def test_a_migration_takes_from_the_scan_role_what_it_should_not_have(owner: Engine) -> None:
    """As after a person has granted it more to look for an error."""
    may = text("SELECT has_table_privilege('zpcode_scan', :name, 'SELECT')")
    with owner.begin() as connection:
        connection.execute(text("GRANT SELECT ON audit, scan_default TO zpcode_scan"))
        privileges.grant(connection, application_role=None, scan_role="zpcode_scan")
        names = ("audit", "scan_default", "scan_view")
        assert [connection.execute(may, {"name": name}).scalar_one() for name in names] == [False, False, True]


def test_the_scan_role_may_not_make_or_drop_partitions(engine: Engine) -> None:
    with transaction(engine) as connection:
        for function in ("make_scan_partition(date)", "drop_scan_partition(date)"):
            allowed = text("SELECT has_function_privilege('zpcode_scan', :name, 'EXECUTE')")
            assert connection.execute(allowed, {"name": function}).scalar_one() is False


def test_a_definer_function_looks_only_into_the_catalogue(engine: Engine) -> None:
    """A table or function of the caller's cannot take the place of one that it names."""
    with transaction(engine) as connection:
        rows = connection.execute(
            text("SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace")
        ).all()
    assert sorted(row.proname for row in rows) == ["drop_scan_partition", "make_scan_partition"]
    assert all("search_path=pg_catalog, pg_temp" in row.proconfig for row in rows)


def test_a_partition_is_made_dropped_after_half_a_year_and_remembered(engine: Engine) -> None:
    month = date(2024, 2, 1)
    scans.ensure_partitions(engine, month)
    scans.ensure_partitions(engine, month)
    with transaction(engine) as connection:
        connection.execute(
            text(
                "INSERT INTO scan (at, entry, gtin, batch, index, verdict) VALUES"
                " ('2024-02-29 23:59:59Z', '1-0', '09501101530003', 7, 1, 'verified'),"
                " ('2024-02-01 00:00:00Z', '2-0', '09501101530003', NULL, NULL, 'unknown')"
            )
        )
        placed = connection.execute(text("SELECT DISTINCT tableoid::regclass::text FROM scan")).scalars().all()
        assert placed == ["scan_2024_02"]
        assert store.drop_partition(connection, date(2024, 2, 11)) == 2
        (dropped,) = connection.execute(text("SELECT * FROM scan_partition WHERE dropped_at IS NOT NULL")).all()
        assert (dropped.month, dropped.scans, dropped.of_items) == (month, 2, 1)
    with pytest.raises(DBAPIError, match="there is no partition"), engine.begin() as connection:
        store.drop_partition(connection, month)


def test_a_partition_is_dropped_while_scans_are_being_read(engine: Engine) -> None:
    """A reader locks `scan` first and its partitions then. A drop that does it the other way around ends one of the two."""
    month = date(2024, 2, 1)
    scans.ensure_partitions(engine, month)
    with ThreadPoolExecutor(1) as thread, engine.connect() as reader:
        reader.execute(text("SELECT FROM scan WHERE false"))
        dropped = thread.submit(_drop, engine, month)
        eventually(lambda: _waits_for_a_lock(engine))
        assert reader.execute(text("SELECT count(*) FROM scan")).scalar_one() == 0
        reader.rollback()
        assert dropped.result() == 0


def _drop(engine: Engine, month: date) -> int:
    with transaction(engine) as connection:
        return store.drop_partition(connection, month)


def _waits_for_a_lock(engine: Engine) -> bool:
    with transaction(engine) as connection:
        return bool(connection.execute(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")).scalar_one())


def test_scans_of_the_last_half_year_are_never_dropped(engine: Engine) -> None:
    today = date.today()  # noqa: DTZ011 - any day of this month
    scans.ensure_partitions(engine, today)
    with pytest.raises(DBAPIError, match="kept for half a year"), engine.begin() as connection:
        store.drop_partition(connection, today)
    for month in ("2019-12-31", "2200-01-01"):
        with pytest.raises(DBAPIError, match="no partition of scans"), engine.begin() as connection:
            connection.execute(text("SELECT make_scan_partition(:month)"), {"month": month})


def test_what_is_appended_is_protected_from_its_owner_too(owner: Engine) -> None:
    for table in ("audit", "status_change", "complaint_event", "recovery"):
        with pytest.raises((ProgrammingError, IntegrityError, DBAPIError), match="append-only"), owner.begin() as made:
            made.execute(text(f"TRUNCATE {table}"))
