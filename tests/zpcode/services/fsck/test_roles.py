"""`zpcode fsck` of a database whose roles, grants or triggers somebody changed."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from tests.support.databases import as_owner
from zpcode.embedded.servers import Servers
from zpcode.services.fsck.roles import _REASONS
from zpcode.store.database import privileges, role_check
from zpcode.store.database.role_check import Deviation, privileges_in
from zpcode.store.database.session import connect, transaction

CHANGES = {
    "ALTER TABLE audit DISABLE TRIGGER audit_append_only": ("trigger", "audit audit_append_only"),
    "ALTER TABLE audit ENABLE REPLICA TRIGGER audit_append_only": ("trigger", "audit audit_append_only"),
    "DROP TRIGGER recovery_append_only ON recovery": ("trigger", "recovery recovery_append_only"),
    "GRANT DELETE ON audit TO zpcode": ("granted", "audit zpcode"),
    "GRANT UPDATE (quantity) ON batch TO zpcode": ("granted", "batch zpcode"),
    "GRANT UPDATE ON complaint TO zpcode": ("granted", "complaint zpcode"),
    "GRANT UPDATE ON SEQUENCE batch_number TO zpcode": ("granted", "batch_number zpcode"),
    "GRANT SELECT ON api_key TO zpcode_scan": ("granted", "api_key zpcode_scan"),
    "GRANT INSERT ON scan_view TO zpcode_scan": ("granted", "scan_view zpcode_scan"),
    "GRANT SELECT ON complaint_contact TO PUBLIC": ("granted", "complaint_contact PUBLIC"),
    "GRANT SELECT ON card TO zpcode WITH GRANT OPTION": ("granted", "card zpcode"),
    "GRANT EXECUTE ON FUNCTION drop_scan_partition(date) TO PUBLIC": ("granted", "drop_scan_partition(date) PUBLIC"),
    "REVOKE INSERT ON audit FROM zpcode": ("not-granted", "audit zpcode"),
    "REVOKE UPDATE (state) ON complaint FROM zpcode": ("not-granted", "complaint zpcode"),
    "GRANT CREATE ON SCHEMA public TO zpcode": ("creates", "role zpcode"),
    "CREATE FUNCTION helper() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'": (
        "definer",
        "function helper()",
    ),
}
"""What the owner of the tables can do, and what is reported of it."""
_NEEDS_SUPERUSER = {
    "ALTER ROLE zpcode BYPASSRLS": "attribute",
    "GRANT zpcode_owner TO zpcode": "member",
    "ALTER TABLE audit OWNER TO zpcode": "owner",
    "ALTER ROLE zpcode_scan CONNECTION LIMIT -1": "bounds",
    "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC": "locks",
}


@pytest.fixture
def superuser(servers: Servers, engine: Engine) -> Iterator[Engine]:
    """An engine on this test's own database as the superuser."""
    url = engine.url.set(username="postgres", password=servers.role_passwords()["postgres"])
    own = connect(url.render_as_string(hide_password=False), pool_size=1)
    yield own
    own.dispose()


def deviations(engine: Engine) -> list[Deviation]:
    """Everything that is not as it should be."""
    with transaction(engine) as connection:
        return list(role_check.deviations(connection))


def test_a_database_as_migrations_make_it_has_no_deviation(engine: Engine) -> None:
    assert deviations(engine) == []


@pytest.mark.parametrize("statement", CHANGES)
def test_a_change_is_reported_with_its_place(engine: Engine, statement: str) -> None:
    with as_owner(engine) as connection:
        connection.execute(text(statement))
    assert CHANGES[statement] in {(one.reason, one.where) for one in deviations(engine)}


@pytest.mark.parametrize("statement", _NEEDS_SUPERUSER)
def test_what_only_a_superuser_can_change_is_reported_too(superuser: Engine, statement: str) -> None:
    """Roles belong to all databases of the server, so this is rolled back."""
    with superuser.connect() as connection:
        connection.execute(text(statement))
        connection.execute(text("SET LOCAL ROLE zpcode"))
        reasons = {one.reason for one in role_check.deviations(connection)}
        connection.rollback()
    assert _NEEDS_SUPERUSER[statement] in reasons


def test_an_extension_brings_its_own_grants(superuser: Engine) -> None:
    """Its views may belong to another role, and everybody may read them."""
    with superuser.connect() as connection:
        connection.execute(text("CREATE EXTENSION pg_stat_statements SCHEMA public"))
        connection.execute(text("SET LOCAL ROLE zpcode"))
        assert list(role_check.deviations(connection)) == []
        connection.rollback()


def test_every_reason_has_its_words() -> None:
    reasons = {reason for reason, _ in CHANGES.values()} | set(_NEEDS_SUPERUSER.values())
    assert reasons == set(_REASONS)


def test_every_trigger_that_keeps_records_is_in_the_list(engine: Engine) -> None:
    query = "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    with transaction(engine) as connection:
        triggers = [tuple(row) for row in connection.execute(text(query))]
    own = [one for one in triggers if not one[0].startswith(privileges.QUEUE_PREFIX)]
    assert own == list(privileges.TRIGGERS)


@pytest.mark.parametrize(
    ("rights", "single"),
    [
        ("SELECT", {"SELECT"}),
        ("SELECT, INSERT, UPDATE (state, ended_at)", {"SELECT", "INSERT", "UPDATE (state)", "UPDATE (ended_at)"}),
        (privileges.SEQUENCE, {"USAGE", "SELECT"}),
    ],
)
def test_a_list_of_privileges_is_read(rights: str, single: set[str]) -> None:
    assert privileges_in(rights) == single
