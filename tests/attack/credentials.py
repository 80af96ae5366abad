"""What somebody gets who has taken over one process: its credentials of Redis, PostgreSQL and the signer."""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack, suppress
from typing import Final

import msgspec
import psycopg
from psycopg import sql
from redis.exceptions import NoPermissionError, RedisError

from keys.client import SignerClient
from tests.attack.target import SECONDS, Attempt, Attempts, Target
from zpcode.errors import SignerError, SignerUnavailable
from zpcode.wire import redis_keys
from zpcode.wire.link import parse

_COMMANDS: Final = (
    "CONFIG GET *", "CONFIG SET maxmemory 1", "ACL LIST", "ACL WHOAMI", "CLIENT LIST", "CLIENT KILL TYPE normal",
    "SHUTDOWN", "FLUSHALL", "FLUSHDB", "SAVE", "REPLICAOF no one", "MONITOR", "KEYS *", "SCAN 0",
    "RANDOMKEY", "EVAL return(1) 0", "SCRIPT FLUSH", "FUNCTION FLUSH", "FUNCTION LIST", "MODULE LIST",
    "DEL zp:{feed}:head", "SET zp:{s} 1", "HSET zp:{s} enterprise:x 1", "HSET zp:{feed}:head revision 9",
    "SET zp:{p:06901234567892} 1", "SET zp:{b:1} 1", "HSET zp:{b:1}:x 0 1", "SET zp:{n:} 1", "DEL zp:{b:1}:x",
    "XTRIM zp:{scans}:stream MAXLEN 0", "XADD zp:{scans}:stream MAXLEN 0 * e 1", "XREAD STREAMS zp:{scans}:stream 0",
    "XRANGE zp:{scans}:stream - +", "XGROUP DESTROY zp:{scans}:stream authority", "XDEL zp:{scans}:stream 1-1",
    "DEL zp:{scans}:stream", "SUBSCRIBE a", "PUBLISH a b", "RENAME zp:{b:1}:x zp:{b:1}:h:0", "COPY zp:{b:1} zp:{b:1}:h:9",
    "SORT zp:{s} STORE zp:{b:1}:h:0", "MIGRATE 127.0.0.1 1 a 0 1", "DUMP zp:{b:1}", "RESTORE zp:{b:1}:x 0 a",
    "BITOP NOT zp:{b:1}:x zp:{b:1}", "SET other 1", "GET other",
)  # fmt: skip
"""Commands that the scan account has no use for, or on keys that only the authority writes."""


def commands_of_the_scan_account(target: Target) -> Attempts:
    """The scan service's account of Redis has only the commands and keys that a scan needs."""
    with target.scan_redis() as redis:
        for command in _COMMANDS:
            breach = "allowed"
            try:
                redis.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]
            except NoPermissionError:
                breach = ""
            except RedisError as error:
                breach = f"permitted, though it failed: {error}"
            yield Attempt(command, breach)


def histories_of_the_scan_account(target: Target) -> Attempts:
    """Whatever the scan account writes where it may write, a revoked item stays revoked and the text stays the office's."""
    serial = parse(target.item).identity.serial
    assert serial is not None
    target.revoke("code", target.item)
    before = target.scan(target.item)
    if before["verdict"] != "revoked":
        yield Attempt("the revocation", f"the revoked item reads {before['verdict']}, so the attack shows nothing")
    forged = msgspec.msgpack.encode({"standings": [{"state": "good", "effective_at": 1, "begun": True}]})
    bodies = {
        "a city of 262 bytes": [1, 1, "x" * 7 + (redis_keys.pack(2**62, forged)).decode("latin-1") + "y" * 190],
        "a city of bytes": [1, 1, b"x" * 262],
        "a fifth member": [1, 1, "", b"", forged],
        "a map": {"timeline": forged},
        "a number": 7,
        "negative scans": [-1, -1, ""],
        "endless scans": [2**63, 2**63, ""],
        "fractions": [1.5, float("nan"), ""],
        "texts": ["1", "1", 1],
        "nothing": [],
        "nested": [[[[[1]]]]],
    }
    fields = _history_fields(serial.batch)
    for name, body in bodies.items():
        packed = msgspec.msgpack.encode(body)
        for cut in (packed, packed[: len(packed) // 2], packed + b"\xff" * 300):
            _write_histories(target, fields, cut)
            after = target.scan(target.item, agent=f"Mozilla/5.0 ({name})")
            breach = "" if after["verdict"] == "revoked" else f"the revoked item reads {after['verdict']}"
            yield Attempt(f"{name}, {len(cut)} bytes", breach)


def _history_fields(batch: int) -> dict[str, list[str]]:
    """All fields of the histories of the demo's items, by bucket: the attacker does not know the item's index."""
    return {
        redis_keys.history(batch, at)[0]: [str(field) for field in range(redis_keys.BUCKET)]
        for at in range(0, 1000, redis_keys.BUCKET)
    }


def _write_histories(target: Target, fields: dict[str, list[str]], body: bytes) -> None:
    with target.scan_redis() as redis, suppress(NoPermissionError):  # it need not have the right to write at all
        for bucket, names in fields.items():
            redis.hset(bucket, mapping=dict.fromkeys([*names, redis_keys.COMPLETE], body))


_STATEMENTS: Final = (
    "UPDATE {} SET {} = {}",
    "DELETE FROM {0}",
    "TRUNCATE {0}",
    "ALTER TABLE {0} DISABLE TRIGGER ALL",
    "ALTER TABLE {0} ADD COLUMN attack int",
    "DROP TABLE {0} CASCADE",
    "CREATE TRIGGER attack BEFORE INSERT ON {0} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE attack AS ON INSERT TO {0} DO INSTEAD NOTHING",
    "GRANT ALL ON {0} TO PUBLIC",
)


def rewritten_records(target: Target) -> Attempts:
    """The authority's account of PostgreSQL adds to the records, and cannot change, erase or switch off anything of them."""
    for table, column in (("audit", "actor"), ("status_change", "reason")):
        for statement in _STATEMENTS:
            name, field = sql.Identifier(table), sql.Identifier(column)
            query = _sql(statement).format(name, field, field)
            yield _refused(target.servers.database, f"{statement} {table}", query)
    for statement in (
        "CREATE TABLE attack (a int)",
        "CREATE FUNCTION attack() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA attack",
        "SET session_replication_role = replica",
        "COPY audit TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER ROLE zpcode SUPERUSER",
        "CREATE EXTENSION file_fdw",
    ):
        yield _refused(target.servers.database, statement, _sql(statement))


def queries_of_the_scan_account(target: Target) -> Attempts:
    """The scan service's account of PostgreSQL reads one view."""
    with psycopg.connect(target.servers.database) as connection:
        rows = connection.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relname <> 'scan_view'"
        ).fetchall()
    for (table,) in rows:
        query = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))
        yield _refused(target.servers.scan_database, f"read {table}", query)
    for statement in ("CREATE TABLE attack (a int)", "CREATE TEMP TABLE attack (a int)", "SELECT pg_read_file('/etc/passwd')",
                      "SET temp_file_limit = -1", "ALTER ROLE zpcode_scan RESET temp_file_limit",
                      "ALTER ROLE zpcode_scan CONNECTION LIMIT -1"):  # fmt: skip
        yield _refused(target.servers.scan_database, statement, _sql(statement))
    for other in ("postgres", "template1"):
        yield _unreachable(target.servers.scan_database.replace("/zpcode?", f"/{other}?"), other)
    yield _bounded(target.servers.scan_database)


_UNUSED_FUNCTIONS: Final = """
    SELECT p.oid::regprocedure::text, p.proname, array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) AS t)
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
    AND (p.proname ~ 'advisory' OR p.proname ~ '^lo_' OR p.proname IN ('loread', 'lowrite', 'pg_logical_emit_message'))
    ORDER BY 1
"""
"""What stops the authority (its advisory locks) or fills the disk (large objects, messages in the WAL)."""


def functions_of_the_readers(target: Target) -> Attempts:
    """The accounts of the scan service and of the backups take no advisory lock and store nothing beside the tables."""
    with psycopg.connect(target.servers.database) as connection:
        functions = connection.execute(_UNUSED_FUNCTIONS).fetchall()
    for role, address in (("scan", target.servers.scan_database), ("backup", target.servers.backup_database)):
        for name, function, types in functions:
            values = sql.SQL(", ").join(sql.SQL("'0'::{}").format(_sql(type_)) for type_ in types)
            # not NULL: PostgreSQL does not call a strict function with NULL, and checks no right then
            call = sql.SQL("SELECT {}({})").format(sql.Identifier(function), values)
            yield _refused(address, f"{role}: {name}", call)


def _unreachable(address: str, name: str) -> Attempt:
    """A connection to a database that is not the project's."""
    try:
        psycopg.connect(address, connect_timeout=int(SECONDS)).close()
    except psycopg.OperationalError as error:
        return Attempt(f"connect to {name}", "" if "permission denied" in str(error) else str(error))
    return Attempt(f"connect to {name}", "connected")


def _bounded(address: str) -> Attempt:
    """As many connections as the server gives."""
    name = "100 connections"
    with ExitStack() as stack:
        for _ in range(100):
            try:
                stack.enter_context(psycopg.connect(address, connect_timeout=int(SECONDS)))
            except psycopg.OperationalError as error:
                return Attempt(name, "" if "too many connections for role" in str(error) else str(error))
    return Attempt(name, "all of them")


_NOT_GRANTED: Final = "01007"
"""SQLSTATE of the warning that nothing was granted, because the role has nothing to grant."""


def _sql(statement: str) -> sql.SQL:
    """A statement of this module, which is typed as text because it is also its name in the report."""
    return sql.SQL(statement)


def _refused(address: str, name: str, query: sql.SQL | sql.Composed) -> Attempt:
    """A statement, which is rolled back if it is not refused."""
    with psycopg.connect(address, connect_timeout=int(SECONDS)) as connection:
        connection.read_only = False  # a default of the role, which the attacker need not keep
        notices: list[str | None] = []
        connection.add_notice_handler(lambda notice: notices.append(notice.sqlstate))
        try:
            connection.execute(query)
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException):
            return Attempt(name)
        except psycopg.Error as error:
            permitted = not isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
            return Attempt(name, f"permitted, though it failed: {error}" if permitted else "")
        finally:
            connection.rollback()
    return Attempt(name, "" if _NOT_GRANTED in notices else "done")


def frames_to_the_signer(target: Target) -> Attempts:
    """The signer signs only codes that it has built itself, and answers the next request whatever came before."""
    with SignerClient(target.signer) as signer:
        key = signer.active_key()
    ours = {"key_id": key, "gtin": parse(target.item).identity.gtin}
    product = msgspec.msgpack.encode({"kind": "product"} | ours)
    if not _signed(target, struct.pack(">I", len(product)) + product):
        yield Attempt("a product code", "the signer signs nothing at all, so the attack shows nothing")
    for name, body in {
        "not MessagePack": b"\xc1" * 40,
        "nothing": b"",
        "a number": msgspec.msgpack.encode(1),
        "an unknown kind": msgspec.msgpack.encode({"kind": "raw", "message": b"x"}),
        "an unknown member": msgspec.msgpack.encode({"kind": "product", "message": b"x"} | ours),
        "a GTIN with a line feed": msgspec.msgpack.encode({"kind": "product"} | ours | {"gtin": "\n" * 14}),
        "a lot with a slash": msgspec.msgpack.encode({"kind": "lot", "lot": "A/21/B"} | ours),
        "a parent segment": msgspec.msgpack.encode({"kind": "lot", "lot": ".."} | ours),
        "another key": msgspec.msgpack.encode({"kind": "product"} | ours | {"key_id": "AAAA"}),
        "a slot too large": msgspec.msgpack.encode({"kind": "items", "batch": 1, "slots": b"\xff" * 8} | ours),
        "half a slot": msgspec.msgpack.encode({"kind": "items", "batch": 1, "slots": b"\0" * 7} | ours),
        "batch 0": msgspec.msgpack.encode({"kind": "items", "batch": 0, "slots": bytes(8)} | ours),
        "batch 2^26": msgspec.msgpack.encode({"kind": "items", "batch": 2**26, "slots": bytes(8)} | ours),
        "deep": b"\x91" * 100_000,
    }.items():
        for length in (len(body), len(body) + 10, 2**32 - 1):
            yield Attempt(f"{name}, length {length}", _signed(target, struct.pack(">I", length) + body))
    try:
        with SignerClient(target.signer) as signer:
            yield Attempt("the signer afterwards", "" if signer.active_key() == key else "it has another key")
    except (SignerError, SignerUnavailable) as error:
        yield Attempt("the signer afterwards", str(error))


def _signed(target: Target, frame: bytes) -> str:
    """What the signer signed; empty if nothing."""
    reply = b""
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(SECONDS)
        connection.connect(str(target.signer))
        connection.sendall(frame)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            reply += part
    if len(reply) < 4:
        return ""
    answer = msgspec.msgpack.decode(reply[4:])
    return "a signature" if answer.get("signatures") else ""
