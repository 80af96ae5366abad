"""Where the roles, grants and triggers of the database are not as deploy/postgres-roles.sql and `zpcode migrate` make them.

Reads the catalogue, which every role may read. The role of the application is that of the connection; a scan role is every other role
that may read the scan view.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from zpcode.store import locks
from zpcode.store.database.privileges import ALL_ROWS, FUNCTIONS, QUEUE_PREFIX, SEQUENCE, TABLES, TRIGGERS

VIEW: Final = "scan_view"
Grants = dict[tuple[str, str], set[str]]


class Deviation(NamedTuple):
    """Something that is not as it should be: a reason of fsck's finding, where it is, and the value."""

    reason: str
    where: str
    value: str


_NO_EXTENSION: Final = (
    "NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{}'::regclass AND d.objid = {}.oid AND d.deptype = 'e')"
)
"""The object does not belong to an extension, such as pg_stat_statements: an extension brings its own grants."""
_OWN_TABLE: Final = f"c.relnamespace = 'public'::regnamespace AND {_NO_EXTENSION.format('pg_class', 'c')}"
_OWN_FUNCTION: Final = f"p.pronamespace = 'public'::regnamespace AND {_NO_EXTENSION.format('pg_proc', 'p')}"
_OWNED: Final = text(
    "SELECT kind, name, pg_get_userbyid(owner) AS owner FROM ("  # noqa: S608 - constant texts, see above
    " SELECT 'table' AS kind, c.relname AS name, c.relowner AS owner FROM pg_class c"
    f"  WHERE {_OWN_TABLE} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')"
    f" UNION ALL SELECT 'function', p.proname, p.proowner FROM pg_proc p WHERE {_OWN_FUNCTION}"
    " UNION ALL SELECT 'database', datname, datdba FROM pg_database WHERE datname = current_database()"
    " ) owned WHERE owner <> (SELECT relowner FROM pg_class WHERE oid = 'audit'::regclass)"
    " OR pg_get_userbyid(owner) = current_user"
    " UNION ALL SELECT 'schema', nspname, pg_get_userbyid(nspowner) FROM pg_namespace"
    "  WHERE pg_get_userbyid(nspowner) = current_user ORDER BY 1, 2"
)
_GRANTS: Final = text(
    "SELECT c.relname AS name, coalesce(r.rolname, 'PUBLIC') AS grantee, acl.privilege_type AS privilege, '' AS column_,"  # noqa: S608
    "  acl.is_grantable FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) acl LEFT JOIN pg_roles r ON r.oid = acl.grantee"
    f"  WHERE {_OWN_TABLE} AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND acl.grantee <> c.relowner"
    " UNION ALL SELECT c.relname, coalesce(r.rolname, 'PUBLIC'), acl.privilege_type, a.attname, acl.is_grantable"
    "  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid CROSS JOIN LATERAL aclexplode(a.attacl) acl"
    f"  LEFT JOIN pg_roles r ON r.oid = acl.grantee WHERE {_OWN_TABLE} AND acl.grantee <> c.relowner"
    " UNION ALL SELECT p.oid::regprocedure::text, coalesce(r.rolname, 'PUBLIC'), acl.privilege_type, '', acl.is_grantable"
    "  FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl"
    f"  LEFT JOIN pg_roles r ON r.oid = acl.grantee WHERE {_OWN_FUNCTION} AND p.prosecdef AND acl.grantee <> p.proowner"
)
_RELATIONS: Final = text(
    "SELECT relname AS name, relkind AS kind, relispartition AS is_partition FROM pg_class"
    " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')"
)
_ROLE: Final = text(
    "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolconnlimit, coalesce(rolconfig, '{}') AS config,"
    " has_database_privilege(oid, current_database(), 'CREATE') AS creates,"
    " has_database_privilege(oid, current_database(), 'TEMPORARY') AS temporary,"
    " has_schema_privilege(oid, 'public', 'CREATE') AS creates_in_schema,"
    " has_parameter_privilege(oid, 'session_replication_role', 'SET') AS sets_replication_role"
    " FROM pg_roles WHERE rolname = :role"
)
_MEMBER_OF: Final = text(
    "SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE pg_get_userbyid(member) = :role ORDER BY 1"
)
_TRIGGERS: Final = text(
    "SELECT tgrelid::regclass::text AS table_, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
)
_DEFINERS: Final = text(
    f"SELECT p.oid::regprocedure::text FROM pg_proc p WHERE {_OWN_FUNCTION} AND p.prosecdef ORDER BY 1"  # noqa: S608
)
_ATTRIBUTES: Final = ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls")
_SCAN_SETTINGS: Final = ("default_transaction_read_only=on", "temp_file_limit=")


def deviations(connection: Connection) -> Iterator[Deviation]:
    """Everything that is not as it should be."""
    role = str(connection.execute(text("SELECT current_user")).scalar_one())
    granted = _granted(connection)
    scan_roles = sorted({grantee for name, grantee in granted if name == VIEW} - {role, "PUBLIC"})
    for row in connection.execute(_OWNED):
        yield Deviation("owner", f"{row.kind} {row.name}", row.owner)
    yield from _grants(granted, _expected(connection, role, scan_roles))
    for each in (role, *scan_roles):
        yield from _role(connection, each, is_scan_role=each != role)
    yield from _triggers(connection)
    for name in connection.execute(_DEFINERS).scalars():
        if name not in FUNCTIONS:
            yield Deviation("definer", f"function {name}", "SECURITY DEFINER")


def _granted(connection: Connection) -> Grants:
    """What is granted, by object and grantee: privileges such as `SELECT`, `UPDATE (state)`, `SELECT WITH GRANT OPTION`."""
    granted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for row in connection.execute(_GRANTS):
        privilege = f"{row.privilege} ({row.column_})" if row.column_ else row.privilege
        granted[row.name, row.grantee].add(privilege)
        if row.is_grantable:
            granted[row.name, row.grantee].add(f"{privilege} WITH GRANT OPTION")
    return dict(granted)


def _expected(connection: Connection, role: str, scan_roles: list[str]) -> Grants:
    expected: Grants = {(VIEW, scan_role): {"SELECT"} for scan_role in scan_roles}
    expected |= {(function, role): {"EXECUTE"} for function in FUNCTIONS}
    for row in connection.execute(_RELATIONS):
        if row.kind == "S":
            expected[row.name, role] = privileges_in(SEQUENCE)
        elif row.name.startswith(QUEUE_PREFIX):
            expected[row.name, role] = privileges_in(ALL_ROWS)
        elif row.name in TABLES:
            expected[row.name, role] = privileges_in(TABLES[row.name])
    return expected


def privileges_in(rights: str) -> set[str]:
    """The single privileges in a list such as `SELECT, UPDATE (state, region)`: `SELECT`, `UPDATE (state)`, `UPDATE (region)`."""
    single: set[str] = set()
    for privilege, columns in re.findall(r"([A-Z]+)(?: \(([^)]*)\))?", rights):
        single |= {f"{privilege} ({column.strip()})" for column in columns.split(",")} if columns else {privilege}
    return single


def _grants(granted: Mapping[tuple[str, str], set[str]], expected: Grants) -> Iterator[Deviation]:
    for name, grantee in sorted(granted.keys() | expected.keys()):
        present, right = granted.get((name, grantee), set()), expected.get((name, grantee), set())
        if more := present - right:
            yield Deviation("granted", f"{name} {grantee}", ", ".join(sorted(more)))
        if less := right - present:
            yield Deviation("not-granted", f"{name} {grantee}", ", ".join(sorted(less)))


def _role(connection: Connection, role: str, *, is_scan_role: bool) -> Iterator[Deviation]:
    """What a role may do in the server and in the database besides its grants."""
    row = connection.execute(_ROLE, {"role": role}).one()
    attributes = [name for name in _ATTRIBUTES if getattr(row, name)]
    attributes += ["session_replication_role"] if row.sets_replication_role else []
    if attributes:
        yield Deviation("attribute", f"role {role}", ", ".join(attributes))
    if creates := [name for name in ("creates", "creates_in_schema", "temporary") if getattr(row, name)]:
        yield Deviation("creates", f"role {role}", ", ".join(creates))
    if groups := list(connection.execute(_MEMBER_OF, {"role": role}).scalars()):
        yield Deviation("member", f"role {role}", ", ".join(groups))
    if is_scan_role and locks.open_to(connection, role):
        yield Deviation("locks", f"role {role}", "")
    if is_scan_role:
        missing = [name for name in _SCAN_SETTINGS if not any(one.startswith(name) for one in row.config)]
        missing += ["CONNECTION LIMIT"] if row.rolconnlimit < 0 else []
        if missing:
            yield Deviation("bounds", f"role {role}", ", ".join(missing))


def _triggers(connection: Connection) -> Iterator[Deviation]:
    """The append-only triggers that are missing or switched off. `O` is on; `A` is on in replicas too."""
    present = {(row.table_, row.tgname): row.tgenabled for row in connection.execute(_TRIGGERS)}
    for table, trigger in TRIGGERS:
        enabled = present.get((table, trigger))
        if enabled not in {"O", "A"}:
            yield Deviation("trigger", f"{table} {trigger}", "missing" if enabled is None else "disabled")
