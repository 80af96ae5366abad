"""`zpcode fsck`: what holds is said to hold; each damage is found where it is, and mended where it may be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from tests.integration import fsck_setting, issuing_setting
from tests.integration.fsck_setting import World
from tests.integration.issuing_setting import KeyHouse
from tests.registry_data import gtin, uscc
from zpcode.cli.fsck import app
from zpcode.embedded.servers import Addresses
from zpcode.errors import KeyringError, Refused, Text
from zpcode.services.fsck import run
from zpcode.services.fsck.report import State
from zpcode.services.redis_client import connect
from zpcode.wire import redis_keys
from zpcode.wire.card import Scope, standing_key


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyHouse]:
    """A key room whose signer runs for this module."""
    found = issuing_setting.key_house(tmp_path_factory.mktemp("kh"))
    with found.signer():
        yield found


@pytest.fixture
def world(engine: Engine, redis: Redis, house: KeyHouse, tmp_path: Path) -> World:
    """A service of which everything holds."""
    return fsck_setting.settle(engine, redis, house, tmp_path / "exports")


def test_of_a_service_that_was_left_alone_everything_holds(world: World) -> None:
    """Every check has looked at something, deep or not, and nothing is wrong."""
    for deep in (False, True):
        report = world.check(deep=deep)
        told = [
            (found.invariant.name, found.hindrance, found.findings)
            for found in report.outcomes
            if found.state is not State.HOLDS
        ]
        assert told == []
        assert report.whole
    looked = {outcome.invariant.name: outcome.examined for outcome in report.outcomes}
    assert set(looked) == set(run.NAMES)
    assert {name for name, examined in looked.items() if not examined} == {"stream"}
    assert looked["code-contents"] == 100 + 100 + 1 + 1


def _swap_rows(world: World) -> None:
    """Two codes change places: the same codes, the same size."""
    path = world.file(world.compact)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[3], rows[4] = rows[4], rows[3]
    path.write_bytes(b"".join(rows))


def _twice(world: World) -> None:
    path = world.file(world.compact)
    rows = path.read_bytes().splitlines(keepends=True)
    rows[7] = rows[8]
    path.write_bytes(b"".join(rows))


def _bend_seal(world: World) -> None:
    path = world.file(world.item)
    content = bytearray(path.read_bytes())
    at = content.index(b"/01/") - 60
    content[at] = ord("A") if content[at] != ord("A") else ord("B")
    path.write_bytes(bytes(content))


def _of_another(world: World) -> None:
    """The product code's file with another product in its second column."""
    path = world.file(world.product)
    path.write_bytes(path.read_bytes().replace(f",{gtin(1)},".encode(), f",{gtin(2)},".encode()))


def _bend_header(world: World) -> None:
    """Another capital letter each time: damage on damage."""
    path = world.file(world.lot)
    rest = path.read_bytes()
    path.write_bytes(bytes([rest[0] ^ 1]) + rest[1:])


def _bend_again(world: World) -> None:
    path = world.file(world.compact)
    path.write_bytes(b"U" + path.read_bytes()[1:])


def _rubbish(world: World) -> None:
    path = world.file(world.lot)
    head, row = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + b"%" * (len(row) - 2) + b"\r\n")


FILE_DAMAGES: dict[str, tuple[Callable[[World], Any], str, str]] = {
    "open to others": (lambda world: world.file(world.lot).chmod(0o644), "code-files", "mode"),
    "too many": (lambda world: world.file(999).write_text("url"), "code-files", "stray"),
    "swapped": (_swap_rows, "code-contents", "index"),
    "twice": (_twice, "code-contents", "index"),
    "forged": (_bend_seal, "code-contents", "seal"),
    "altered": (_bend_header, "code-files", "digest"),
    "with another header": (_bend_again, "code-contents", "header"),
    "of another": (_of_another, "code-contents", "another"),
    "another permutation": (
        lambda world: world.sql("UPDATE batch SET permutation_key = decode(repeat('ab', 16), 'hex') WHERE number = :item"),
        "code-contents",
        "index",
    ),
    "rubbish": (_rubbish, "code-contents", "unreadable"),
    "a key nobody knows": (
        lambda world: world.sql("UPDATE batch SET key_id = 'AAAA' WHERE number = :item"), "code-contents", "unknown-key",
    ),
    "another compact key": (
        lambda world: world.sql("UPDATE batch SET check_key = decode(repeat('ab', 16), 'hex') WHERE number = :compact"),
        "code-contents",
        "check",
    ),
    "short": (lambda world: os.truncate(world.file(world.item), 500), "code-files", "size"),
    "missing": (lambda world: world.file(world.item).unlink(), "code-files", "missing"),
}  # fmt: skip


def test_what_is_wrong_with_a_file_is_found(world: World) -> None:
    """On disk, or against the batch's own record; each damage adds the finding that is its own."""
    for damage, (act, name, reason) in FILE_DAMAGES.items():
        before = world.reasons(name)
        act(world)
        assert world.reasons(name)[reason] > before[reason], damage


TRUTH_DAMAGES: dict[str, tuple[str, str, str]] = {
    "the sequence went back": ("SELECT setval('batch_number', 1)", "batch-numbers", "sequence"),
    "more codes than were asked for": ("UPDATE batch SET quantity = quantity + 1 WHERE number = :item", "batch-records", "bytes"),
    "quantity against the log": ("UPDATE batch SET quantity = quantity + 1 WHERE number = :compact", "batch-audit", "reserve-differs"),
    "another digest": ("UPDATE batch SET sha256 = repeat('0', 64) WHERE number = :compact", "batch-audit", "issue-differs"),
    "no digest": ("UPDATE batch SET sha256 = '' WHERE number = :product", "batch-records", "issued"),
    "issued without the log": ("UPDATE batch SET state = 'issued' WHERE number = :waiting", "batch-audit", "issue-entries"),
    "reserved with a file": ("UPDATE batch SET state = 'reserved' WHERE number = :lot", "batch-records", "reserved"),
    "a batch nobody reserved": (
        ("INSERT INTO batch SELECT 9, uscc, gtin, level, quantity, lot, production_date, expiry_date, format, base,"
        " permutation_key, check_key, key_id, state, sha256, bytes, activation, created_by, created_at FROM batch"
        " WHERE number = :waiting"),
        "batch-audit",
        "reserve-entries",
    ),
    "not active": ("UPDATE batch SET activated_at = NULL WHERE number = :item", "batch-records", "activation"),
    "no key": ("UPDATE batch SET key_id = '' WHERE number = :item", "batch-records", "key"),
    "over its quota": (
        "UPDATE enterprise SET code_quota = 250, updated_at = '2020-01-01' WHERE uscc = :uscc", "quotas", "quota",
    ),
    "an order without its batch": ("UPDATE idempotency SET batch = 777 WHERE batch = :item", "orders", "order"),
    "an order with another's batch": ("UPDATE idempotency SET batch = :lot WHERE batch = :compact", "orders", "order"),
    "the log altered": ("UPDATE audit SET actor = 'nobody' WHERE id = 3", "audit-chain", "hash"),
    "the log cut": ("DELETE FROM audit WHERE id = 3", "audit-chain", "gap"),
    "a decision altered": ("UPDATE status_change SET reason = 'recall' WHERE id = 1", "decisions", "altered"),
    "a decision taken back": ("DELETE FROM status_change WHERE id = 1", "decisions", "count"),
    "a decision never made": (
        ("INSERT INTO status_change (scope, target, action, reason, effective_at, state, decided_by, authority, created_at)"
        " SELECT scope, target, action, reason, effective_at, state, decided_by, authority, created_at FROM status_change"
        " WHERE id = 2"),
        "decisions",
        "unlogged",
    ),
    "a head ahead": ("UPDATE card_head SET revision = revision + 1", "card-head", "head"),
    "a card lost": ("DELETE FROM card WHERE key = 'p:' || :gtin", "cards", "missing"),
    "a standing lost": ("DELETE FROM card WHERE key = 's:enterprise:' || :uscc", "cards", "missing"),
    "a card altered": (("UPDATE card SET body = (SELECT body FROM card WHERE key = 'x:' || :item || '\\:6')"
                       " WHERE key = 'x:' || :item || '\\:5'"), "cards", "differs"),
    "an item's standing lost": ("DELETE FROM card WHERE key = 'x:' || :item || '\\:6'", "cards", "missing"),
    "a card of rubbish": ("UPDATE card SET body = '\\xff' WHERE key = 'b:' || :item", "cards", "unreadable"),
    "a card for nothing": (
        "INSERT INTO card SELECT 's:enterprise:X', revision + 1000, body FROM card WHERE key = 'b:' || :compact",
        "cards",
        "groundless",
    ),
    "another activation": ("UPDATE batch SET activated_at = activated_at + interval '1 day' WHERE number = :compact", "cards", "differs"),
    "no partition": ("DROP TABLE {next}", "partitions", "missing"),
    "counted once too often": ("UPDATE item_history SET scans = scans + 1 WHERE index = 2", "scan-counts", "item"),
    "another last time": ("UPDATE item_history SET last_at = last_at + interval '1 hour' WHERE index = 1", "scan-counts", "item"),
    "counted twice": ("UPDATE item_history SET scans = scans + 2 WHERE index = 1", "scan-counts", "total"),
    "a history of no item": ("UPDATE item_history SET index = 1000 WHERE index = 2", "scan-counts", "astray"),
    "a job about nothing": (
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('issuing', 'issue_batch', '{\"number\": 777}')",
        "jobs",
        "homeless",
    ),
    "a job whose worker is gone": (
        ("INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)"
        " VALUES ('issuing', 'issue_batch', jsonb_build_object('number', :waiting), 'doing')"),
        "jobs",
        "abandoned",
    ),
    "a batch that nobody comes for": ("UPDATE batch SET state = 'reserved' WHERE number = :product", "jobs", "unqueued"),
}  # fmt: skip


def test_what_is_wrong_in_the_database_is_found(world: World) -> None:
    """Each damage by the check that is there for it, with the reason that is its own. One world bears all of them."""
    for check in dict.fromkeys(name for _, name, _ in TRUTH_DAMAGES.values() if name != "cards"):
        _add_up(world, check)


def test_a_card_that_is_not_what_it_is_derived_from_is_found(world: World) -> None:
    """Missing, altered, unreadable, without ground, behind its batch: these need a world in which the rest holds."""
    _add_up(world, "cards")


def _add_up(world: World, check: str) -> None:
    following = (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("scan_%Y_%m")
    for damage, (statement, name, reason) in TRUTH_DAMAGES.items():
        if name == check:
            before = world.reasons(check)
            world.sql(statement.replace("{next}", following))
            assert world.reasons(check)[reason] > before[reason], damage


def test_scans_outside_their_month_are_found(world: World) -> None:
    """They keep their month's partition from being made."""
    world.sql("INSERT INTO scan (at, entry, gtin, verdict) VALUES ('2031-05-05', '1-1.0', '1', 'verified')")
    (found,) = world.of("partitions", repair=True).findings
    assert (found.reason, found.where) == ("unplaced", "2031-05")


def _item_hash(world: World) -> str:
    return redis_keys.exceptions(world.item)


def _rewind(world: World) -> None:
    """The batch's card of a lower revision, as half a backup would bring it."""
    where = redis_keys.place(f"b:{world.item}")[0]
    value: Any = world.redis.get(where)
    world.redis.set(where, redis_keys.pack(1, redis_keys.unpack(value)[1]))


REDIS_DAMAGES: dict[str, tuple[Callable[[World], Any], str]] = {
    "a standing lost": (lambda w: w.redis.hdel(redis_keys.STANDINGS, f"enterprise:{uscc(1)}"), "missing"),
    "an item's standing lost": (lambda w: w.redis.hdel(_item_hash(w), "5"), "missing"),
    "a product lost": (lambda w: w.redis.delete(redis_keys.place(f"p:{gtin(1)}")[0]), "missing"),
    "all items of a batch lost": (lambda w: w.redis.delete(_item_hash(w)), "missing"),
    "all standings lost": (lambda w: w.redis.delete(redis_keys.STANDINGS), "mark"),
    "a mark lost": (lambda w: w.redis.hdel(_item_hash(w), "_"), "mark"),
    "the mark of the standings lost": (lambda w: w.redis.hdel(redis_keys.STANDINGS, "_"), "mark"),
    "an old card": (_rewind, "older"),
    "a card of the future": (
        lambda w: w.redis.hset(redis_keys.STANDINGS, f"enterprise:{uscc(1)}", redis_keys.pack(2**40, b"x")), "newer",
    ),
    "other bytes": (lambda w: w.redis.append(redis_keys.place(f"b:{w.item}")[0], b"x"), "altered"),
    "no card at all": (lambda w: (w.redis.delete(k := redis_keys.place(f"b:{w.item}")[0]), w.redis.lpush(k, 1)), "unreadable"),
    "a product of nobody": (lambda w: w.redis.set("zp:{p:00000000000000}", redis_keys.pack(1, b"x")), "stray"),
    "a batch of nobody": (lambda w: w.redis.set("zp:{b:777}", redis_keys.pack(1, b"x")), "stray"),
    "a lot of nobody": (lambda w: w.redis.set(f"zp:{{p:{gtin(1)}}}:l:NO", redis_keys.pack(1, b"x")), "stray"),
    "an item of nobody": (lambda w: w.redis.hset(_item_hash(w), "77", redis_keys.pack(1, b"x")), "stray"),
    "a standing of nobody": (lambda w: w.redis.hset(redis_keys.STANDINGS, "lot:1:2", redis_keys.pack(1, b"x")), "stray"),
}  # fmt: skip


def test_what_redis_has_otherwise_is_found_told_and_put_right(world: World) -> None:
    """Looking changes nothing; repairing puts all of it right, and says so."""
    for damage, (act, kind) in REDIS_DAMAGES.items():
        act(world)
        before = _dump(world.redis)
        found = world.of("projection")
        assert kind in {finding.reason for finding in found.findings}, damage
        assert found.state is State.BROKEN, damage
        assert _dump(world.redis) == before, damage
        repaired = world.of("projection", repair=True)
        assert (repaired.state, repaired.mended) == (State.REPAIRED, repaired.wrong), damage
        assert repaired.repairs, damage
        for check in ("projection", "projection-head", "cards", "card-head"):
            assert world.of(check).state is State.HOLDS, damage


def _dump(redis: Redis) -> dict[bytes, Any]:
    names: Any = redis.keys("zp:{[pbs]*")
    return {name: redis.dump(name) for name in names}


def test_a_card_that_redis_has_still_to_be_told_of_is_not_wrong(world: World) -> None:
    """A decision that was committed and not yet projected: the head says so, the cards do not."""
    world.sql("UPDATE card_head SET revision = revision + 1")
    world.sql("UPDATE card SET revision = (SELECT revision FROM card_head) WHERE key = 'p:' || :gtin")
    assert world.of("projection").state is State.HOLDS
    (behind,) = world.of("projection-head").findings
    assert behind.reason == "behind"
    assert world.of("projection-head", repair=True).state is State.REPAIRED
    assert world.check().whole


def test_an_empty_redis_is_said_to_be_empty_and_filled(world: World) -> None:
    """Nothing in it can be compared before."""
    world.redis.flushall()
    assert world.of("projection").state is State.UNKNOWN
    (empty,) = world.of("projection-head").findings
    assert empty.reason == "empty"
    report = world.check(repair=True)
    assert report.of("projection-head").state is State.REPAIRED
    assert report.whole


def test_without_redis_the_rest_is_checked(world: World) -> None:
    """What cannot be looked at does not hold, and hinders nothing else."""
    report = world.check(redis=connect("redis://127.0.0.1:1"))
    unknown = {found.invariant.name for found in report.outcomes if found.state is State.UNKNOWN}
    assert unknown == {"projection-head", "projection", "stream", "histories"}
    assert {found.state for found in report.outcomes if found.invariant.name not in unknown} == {State.HOLDS}
    assert not report.whole


def test_without_a_keyring_it_says_so(world: World) -> None:
    """The seals cannot be verified then."""

    def none() -> Any:
        raise KeyringError(Text("没有", "there is none"))

    assert world.of("code-contents", keyring=none).state is State.UNKNOWN


def test_a_history_that_redis_has_lost_is_raised_again(world: World) -> None:
    """Otherwise an old copy of Redis would say “first scan” of what was scanned before."""
    where, name = redis_keys.history(world.item, 1)
    world.redis.hdel(where, name)
    assert world.of("histories", deep=True).state is State.BROKEN
    assert world.of("histories", deep=True, repair=True).state is State.REPAIRED
    assert world.of("histories", deep=True).state is State.HOLDS


def test_a_history_that_redis_does_not_claim_to_know_is_not_wrong(world: World) -> None:
    """Without the marks it is read from the database, as after a flush."""
    where, _ = redis_keys.history(world.item, 1)
    world.redis.delete(where, redis_keys.history_complete(world.item))
    assert world.of("histories", deep=True).state is State.HOLDS


def test_cards_are_written_anew_from_the_decisions_where_the_log_bears_them_out(world: World) -> None:
    """Lost, altered and unreadable ones; then they are projected like any other change."""
    world.sql("DELETE FROM card WHERE key = 's:enterprise:' || :uscc")
    world.sql("UPDATE card SET body = '\\xff' WHERE key = 'b:' || :item")
    report = world.check(repair=True)
    assert report.of("cards").mended == 2
    assert world.check().whole


def test_no_card_is_written_from_a_decision_that_was_tampered_with(world: World) -> None:
    """Then only a person can say which of the two is right."""
    world.sql("UPDATE status_change SET reason = 'counterfeit-confirmed', state = 'good' WHERE scope = 'enterprise'")
    before = _card(world, standing_key(Scope.ENTERPRISE, uscc(1)))
    report = world.check(repair=True)
    assert report.of("decisions").state is State.BROKEN
    assert report.of("cards").state is State.BROKEN
    assert report.of("cards").mended == 0
    assert _card(world, standing_key(Scope.ENTERPRISE, uscc(1))) == before


def _card(world: World, key: str) -> bytes:
    with world.engine.connect() as connection:
        return bytes(connection.execute(text("SELECT body FROM card WHERE key = :key"), {"key": key}).scalar_one())


def test_jobs_and_partitions_are_put_right(world: World) -> None:
    """A job without its worker goes, a month without its partition gets one."""
    world.sql(TRUTH_DAMAGES["a job whose worker is gone"][0])
    world.sql("DROP TABLE scan_" + (datetime.now(UTC).replace(day=1) + timedelta(days=32)).strftime("%Y_%m"))
    assert world.of("jobs", repair=True).state is State.REPAIRED
    assert world.of("partitions", repair=True).state is State.REPAIRED
    assert world.check().whole


def test_an_entry_that_nobody_drains_is_found(world: World) -> None:
    """No consumer group, though there is something to consume."""
    world.redis.xgroup_destroy(redis_keys.SCANS, redis_keys.SCAN_GROUP)
    assert world.of("stream").state is State.HOLDS
    world.redis.xadd(redis_keys.SCANS, {"e": b"x"})
    (found,) = world.of("stream").findings
    assert found.reason == "undrained"


def test_an_entry_that_a_drainer_sits_on_is_found(world: World) -> None:
    """Taken eleven minutes ago, and not done with."""
    world.redis.xadd(redis_keys.SCANS, {"e": b"x"})
    world.redis.xreadgroup(redis_keys.SCAN_GROUP, "worker-0", {redis_keys.SCANS: ">"})
    assert world.of("stream").state is State.HOLDS
    (pending,) = world.redis.xpending_range(redis_keys.SCANS, redis_keys.SCAN_GROUP, "-", "+", 1)
    entry: Any = pending["message_id"]
    world.redis.xclaim(redis_keys.SCANS, redis_keys.SCAN_GROUP, "worker-0", 0, [entry], idle=660_000)
    (found,) = world.of("stream").findings
    assert (found.reason, found.where) == ("stuck", entry.decode())


def test_a_check_that_there_is_not_is_refused(world: World) -> None:
    """With the names of those there are."""
    with pytest.raises(Refused, match="projection-head"):
        run.check(world.ground, only=["everything"])


@pytest.fixture
def command(addresses: Addresses, world: World, house: KeyHouse, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on this world."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_REDIS_URL", addresses.redis)
    monkeypatch.setenv("ZPCODE_KEYRING", str(house.room.keyring))
    monkeypatch.setenv("ZPCODE_ROOT_PUBLIC", str(house.room.root_public))
    monkeypatch.setenv("ZPCODE_EXPORT_DIR", str(world.ground.directory))
    return lambda *words: CliRunner().invoke(app, list(words))


def test_the_command_says_what_holds_and_ends_with_0(command: Any) -> None:
    """A line for each check; as the role it has in production."""
    told = command("--deep")
    assert told.exit_code == 0, told.output
    assert told.output.count("[成立 / holds]") == len(run.NAMES)


def test_the_command_says_where_what_and_what_to_do_and_ends_with_1(world: World, command: Any) -> None:
    """In both languages, and as JSON the same."""
    world.file(world.item).unlink()
    told = command()
    assert told.exit_code == 1
    assert f"batch-{world.item}.csv: 文件不见了 / the file is missing" in told.output
    assert "zpcode batches export" in told.output
    answer = json.loads(command("--json", "--only", "code-files").output)
    assert answer["whole"] is False
    (check,) = answer["checks"]
    assert (check["name"], check["state"], check["wrong"]) == ("code-files", "broken", 1)
    assert check["findings"][0]["where"] == f"batch-{world.item}.csv"


def test_the_command_ends_with_2_on_a_check_there_is_not(command: Any) -> None:
    """So that who watches its exit status does not take a slip of the pen for damage."""
    told = command("--only", "cards", "--only", "everything")
    assert told.exit_code == 2
    assert "everything" in told.output


def test_the_command_repairs_and_says_each_repair(world: World, command: Any) -> None:
    """And ends with 0 where nothing is left."""
    world.redis.hdel(redis_keys.STANDINGS, f"enterprise:{uscc(1)}")
    told = command("--repair")
    assert told.exit_code == 0, told.output
    assert f"wrote s:enterprise:{uscc(1)} into Redis anew" in told.output
    assert "[已修复 / repaired] projection" in told.output
