"""The basis of all services: migrated schema, cards, audit chain, projection."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError, ProgrammingError

from zpcode.embedded.servers import ServerAddresses, Servers
from zpcode.errors import Unavailable
from zpcode.projection import library
from zpcode.projection.projector import catch_up
from zpcode.rules.audit import Break, check_chain
from zpcode.store import audit, cards
from zpcode.store.database.session import connect, transaction
from zpcode.store.tables import access, codes, complaints, continuity, registry
from zpcode.store.tables.columns import metadata
from zpcode.wire import redis_keys
from zpcode.wire.functions.library import ITEMS, LIBRARY


def test_every_table_is_declared_as_it_was_migrated(engine: Engine) -> None:
    """`store/tables` has exactly the tables and columns of the migrated database."""
    assert {module.__name__.rpartition(".")[2] for module in (access, codes, complaints, continuity, registry)} | {
        "columns",
        "__init__",
    } == {path.stem for path in Path(registry.__file__).parent.glob("*.py")}, "each module of tables is imported here"
    inspector = inspect(engine)
    migrated = {
        name for name in inspector.get_table_names() if not name.startswith(("procrastinate", "alembic", "scan_"))
    }
    assert migrated == set(metadata.tables)
    for name, table in metadata.tables.items():
        assert {column["name"] for column in inspector.get_columns(name)} == set(table.columns.keys())


def test_a_card_is_given_a_new_revision_only_when_it_changes(engine: Engine) -> None:
    """Writing the same bytes again is not a change."""
    with transaction(engine) as connection:
        assert cards.put_cards(connection, {"p:1": b"a", "p:2": b"b"}) == 2
    with transaction(engine) as connection:
        assert cards.put_cards(connection, {"p:1": b"a"}) == 2
        assert cards.put_cards(connection, {"p:1": b"c"}) == 3
        assert [entry.key for entry in cards.since(connection, 1, 10)] == ["p:2", "p:1"]


def test_an_empty_redis_is_rebuilt_and_then_kept_up(engine: Engine, redis: Any) -> None:
    """First everything under a new generation, then only what changed, announced in the log."""
    with transaction(engine) as connection:
        cards.put_cards(connection, {"p:1": b"one", "s:standard:T/ZZB 1-2020": b"st", "b:7": b"batch", "x:7:3": b"x"})
    assert catch_up(engine, redis) == 4
    assert redis_keys.unpack(redis.get("zp:{p:1}")) == (1, b"one")
    assert redis_keys.unpack(redis.hget(redis_keys.STANDINGS, "standard:T/ZZB 1-2020"))[1] == b"st"
    assert redis_keys.unpack(redis.hget(redis_keys.exceptions(7), "3"))[1] == b"x"
    assert redis.exists(redis_keys.history_complete(7))
    generation = redis.hget(redis_keys.HEAD, "generation")
    with transaction(engine) as connection:
        cards.put_cards(connection, {"p:1": b"two"})
    assert catch_up(engine, redis) == 5
    assert redis_keys.unpack(redis.get("zp:{p:1}")) == (5, b"two")
    assert redis.hget(redis_keys.HEAD, "generation") == generation
    assert redis.xrange(redis_keys.LOG)[0][1] == {b"k": b"p:1"}
    redis.flushall()
    assert catch_up(engine, redis) == 5
    assert redis.hget(redis_keys.HEAD, "generation") != generation
    assert redis_keys.unpack(redis.get("zp:{p:1}")) == (5, b"two")


def test_an_older_card_never_replaces_a_newer_one(engine: Engine, redis: Any) -> None:
    """A write that a frozen server executes late does not replace a newer card."""
    with transaction(engine) as connection:
        cards.put_cards(connection, {"p:1": b"one"})
    catch_up(engine, redis)
    redis.set("zp:{p:1}", redis_keys.pack(9, b"newer"))
    with transaction(engine) as connection:
        cards.put_cards(connection, {"p:1": b"two"})
    catch_up(engine, redis)
    assert redis_keys.unpack(redis.get("zp:{p:1}")) == (9, b"newer")


@pytest.mark.parametrize(
    "command",
    [
        ("SET", "zp:{p:1}", "forged"),
        ("SET", "zp:{b:7}", "forged"),
        ("HSET", redis_keys.STANDINGS, "enterprise:1", "forged"),
        ("HSET", redis_keys.HEAD, "revision", "99"),
        ("HSET", redis_keys.exceptions(7), "1", "forged"),
        ("DEL", "zp:{p:1}"),
        ("EVAL", "return redis.call('SET', KEYS[1], 'forged')", "1", "zp:{b:7}"),
        ("EVAL", "return redis.call('SET', ARGV[1], 'forged')", "0", "zp:{b:7}"),
        ("EVALSHA", "0" * 40, "0"),
        ("EVAL_RO", "return 1", "0"),
        ("SCRIPT", "LOAD", "return 1"),
        ("FUNCTION", "LOAD", "#!lua name=own"),
        ("FUNCTION", "LIST"),
        ("FUNCTION", "DELETE", LIBRARY),
        ("FUNCTION", "FLUSH"),
        ("FCALL", ITEMS, "1", "zp:{b:7}"),
        ("FCALL", ITEMS, "1", redis_keys.exceptions(7)),
        ("XRANGE", redis_keys.SCANS, "-", "+"),
        ("XADD", redis_keys.SCANS, "MAXLEN", "0", "*", "e", "x"),
        ("XADD", redis_keys.SCANS, "18446744073709551615-1", "e", "x"),
        ("XADD", redis_keys.INBOX, "*", "e", "x"),
        ("XTRIM", redis_keys.SCANS, "MAXLEN", "0"),
        ("LRANGE", redis_keys.INBOX, "0", "-1"),
        ("LLEN", redis_keys.INBOX),
        ("LTRIM", redis_keys.INBOX, "1", "0"),
        ("LPOP", redis_keys.INBOX),
        ("SET", redis_keys.INBOX, "x"),
        ("SET", redis_keys.INBOX_SINCE, "0"),
        ("SET", redis_keys.history(7, 1)[0], "x"),
        ("SET", redis_keys.history_complete(7), "1"),
        ("DEL", redis_keys.history(7, 1)[0]),
        ("RPUSH", redis_keys.history(7, 1)[0], "x"),
        ("SET", redis_keys.salt(0), "x"),
        ("HSET", "zp:{b:x}:h:0", "0", "x"),
        ("GET", redis_keys.feed().build),
        ("GET", redis_keys.INBOX_SINCE),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("INFO",),
        ("FLUSHALL",),
        ("CONFIG", "GET", "masterauth"),
        ("CONFIG", "SET", "maxmemory", "1"),
        ("CLIENT", "LIST"),
        ("ACL", "LIST"),
        ("MULTI",),
    ],
    ids=" ".join,
)
def test_the_scan_service_may_count_in_redis_and_change_nothing_else(
    addresses: ServerAddresses, redis: Any, command: tuple[str, ...]
) -> None:
    """Its role may write histories and append to the inbox, but not cards, standings or the head."""
    redis.set("zp:{b:7}", "card")
    library.provide(redis, ())
    scan = Redis.from_url(addresses.scan_redis)
    scan.hset(redis_keys.history(7, 1)[0], "1", "ok")
    scan.rpush(redis_keys.INBOX, "ok")
    scan.fcall(ITEMS, 1, redis_keys.history(7, 2)[0], 1, 600, 0, 2, "anna", "", "")
    with pytest.raises(ResponseError, match=r"(?i)permission|NOPERM|ACL"):
        scan.execute_command(*command)  # type: ignore[no-untyped-call]
    scan.close()
    assert redis.get("zp:{b:7}") == b"card"
    assert redis.exists(redis_keys.INBOX, redis_keys.history(7, 1)[0]) == 2


@pytest.mark.parametrize(
    "command",
    [
        ("CONFIG", "GET", "masterauth"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("GET", "another:key"),
        ("FUNCTION", "FLUSH"),
        ("SCRIPT", "FLUSH"),
        ("SHUTDOWN",),
        ("REPLICAOF", "NO", "ONE"),
        ("ACL", "LIST"),
        ("CLIENT", "LIST"),
        ("MONITOR",),
        ("MIGRATE", "host", "1", "zp:{s}", "0", "1"),
        ("XADD", "another:key", "*", "e", "x"),
    ],
    ids=" ".join,
)
def test_the_authority_may_do_what_it_needs_in_redis_and_nothing_with_the_server(
    addresses: ServerAddresses, command: tuple[str, ...]
) -> None:
    with closing(Redis.from_url(addresses.redis)) as authority:
        assert authority.ping()
        with pytest.raises(ResponseError, match=r"(?i)permission|NOPERM|ACL"):
            authority.execute_command(*command)  # type: ignore[no-untyped-call]


def test_the_scan_service_may_read_one_view_of_the_database_and_nothing_else(addresses: ServerAddresses) -> None:
    """It may not read the registry's tables or the audit log, and may not write."""
    scan_engine = connect(addresses.scan_database, pool_size=1)
    with transaction(scan_engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM scan_view")).scalar_one() == 1
    for statement in (
        "SELECT * FROM enterprise",
        "SELECT * FROM audit",
        "SELECT secret_hash FROM api_key",
        "UPDATE card SET body = ''",
        "CREATE TABLE mine (n int)",
    ):
        with transaction(
            scan_engine.execution_options(postgresql_readonly=False)
        ) as connection:  # a default of the role
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(text(statement))
            connection.rollback()
    scan_engine.dispose()


def test_the_audit_log_refuses_to_be_rewritten(engine: Engine, owner: Engine, now: datetime) -> None:
    """The database refuses UPDATE, DELETE and TRUNCATE, from the owner of the table too."""
    with transaction(engine) as connection:
        audit.append(connection, at=now, actor="cli:me", action="test", object_="x", detail={"n": 1})
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"):
        with pytest.raises(DBAPIError, match="append-only"), transaction(owner) as connection:
            connection.execute(text(statement))


def test_a_changed_removed_or_swapped_entry_breaks_the_chain(engine: Engine, now: datetime) -> None:
    """The chain names the first invalid entry and the reason."""
    with transaction(engine) as connection:
        for number in range(5):
            audit.append(connection, at=now, actor="cli:me", action="test", object_="x", detail={"标": number})
    with transaction(engine) as connection:
        rows = list(audit.entries(connection))
    assert check_chain(rows).last == 5
    assert check_chain(rows).broken is None
    assert check_chain(rows[:2] + rows[3:]).broken == Break(3, "gap")
    forged = (rows[2][0].__class__(3, now, "cli:you", "test", "x", {"标": 2}), *rows[2][1:])
    assert check_chain([*rows[:2], forged, *rows[3:]]).broken == Break(3, "hash")
    assert check_chain([*rows[:2], (rows[2][0], b"\1" * 32, rows[2][2])]).broken == Break(3, "previous")


class _Emptied:
    """A Valkey that is emptied once during a rebuild, just before the first product card is written."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._left = 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def pipeline(self, **options: Any) -> Any:
        if self._left and self._redis.exists(redis_keys.feed().build):
            self._left = 0
            self._redis.flushall()
        return self._redis.pipeline(**options)


def test_a_rebuild_that_redis_was_emptied_during_does_not_begin(engine: Engine, redis: Any) -> None:
    """Otherwise missing decisions would mean "no decision", and a revoked code would be green."""
    with transaction(engine) as connection:
        cards.put_cards(connection, {"s:enterprise:1": b"revoked", "p:1": b"one"})
    with pytest.raises(Unavailable, match="emptied"):
        catch_up(engine, cast("Any", _Emptied(redis)))
    assert not redis.exists(redis_keys.HEAD)
    assert catch_up(engine, redis) == 2
    assert redis_keys.unpack(redis.hget(redis_keys.STANDINGS, "enterprise:1"))[1] == b"revoked"


def test_a_lost_hash_of_item_decisions_is_made_whole_by_the_next_decision(engine: Engine, redis: Any) -> None:
    """After the decision on item 2 the lost one on item 1 must not read as "no decision"."""
    with transaction(engine) as connection:
        cards.put_cards(connection, {"b:7": b"batch", "x:7:1": b"revoked", "x:77:1": b"another batch's"})
    catch_up(engine, redis)
    redis.delete(redis_keys.exceptions(7))
    with transaction(engine) as connection:
        cards.put_cards(connection, {"x:7:2": b"flagged"})
    catch_up(engine, redis)
    fields = redis.hgetall(redis_keys.exceptions(7))
    assert set(fields) == {b"1", b"2", b"_"}
    assert redis_keys.unpack(fields[b"1"])[1] == b"revoked"


def test_a_rebuild_claims_no_empty_history_while_scans_wait(engine: Engine, redis: Any) -> None:
    """The database does not have the scans in the stream yet: no visitor may be told to be the first."""
    with transaction(engine) as connection:
        cards.put_cards(connection, {"b:7": b"batch"})
    redis.rpush(redis_keys.INBOX, b"waits")
    catch_up(engine, redis)
    assert not redis.exists(redis_keys.history_complete(7))
    with transaction(engine) as connection:
        cards.put_cards(connection, {"b:7": b"changed", "b:8": b"new"})
    catch_up(engine, redis)
    assert not redis.exists(redis_keys.history_complete(7))
    assert redis.exists(redis_keys.history_complete(8))


def test_a_status_change_does_not_wait_for_somebody_elses_rebuild(engine: Engine, redis: Any) -> None:
    """The change is committed; Redis gets it with the next projection."""
    with transaction(engine) as holder:
        cards.lock_projector(holder)
        with pytest.raises(Unavailable, match="another process"):
            catch_up(engine, redis)
    assert catch_up(engine, redis) == 0


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    """It may hold a password."""
    with pytest.raises(Unavailable, match="ZPCODE_DATABASE_URL") as refused:
        connect("nonsense:hunter2@")
    assert "hunter2" not in str(refused.value)


def test_a_cluster_whose_making_was_broken_off_is_made_again() -> None:
    """Ctrl-C during the first start must not leave a directory that cannot start."""
    with tempfile.TemporaryDirectory(prefix="zpcode-tests-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        for name in ("postgres", "postgres.new"):
            (home / name).mkdir()
            (home / name / "half").write_text("made")
        with Servers(home, durable=False) as running:
            engine = connect(running.addresses.database, pool_size=1)
            with transaction(engine) as connection:
                assert connection.execute(text("SELECT 1")).scalar_one() == 1
            engine.dispose()
