"""`zpcode fsck` of differences between Redis and the database: cards, histories, the stream of scans."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis

from tests.support.fsck_setting import CheckedService
from tests.support.registry_data import gtin, uscc
from zpcode.embedded.servers import ServerAddresses
from zpcode.services.fsck import run, scans
from zpcode.services.fsck.report import InvariantState
from zpcode.wire import redis_keys
from zpcode.wire.functions import histories


def _item_hash(world: CheckedService) -> str:
    return redis_keys.exceptions(world.item)


def _rewind(world: CheckedService) -> None:
    """Write the batch's card with a lower revision into Redis, as from an incomplete backup."""
    where = redis_keys.location(f"b:{world.item}")[0]
    value: Any = world.redis.get(where)
    world.redis.set(where, redis_keys.pack(1, redis_keys.unpack(value)[1]))


REDIS_DAMAGES: dict[str, tuple[Callable[[CheckedService], Any], str]] = {
    "a standing lost": (lambda w: w.redis.hdel(redis_keys.STANDINGS, f"enterprise:{uscc(1)}"), "missing"),
    "an item's standing lost": (lambda w: w.redis.hdel(_item_hash(w), "5"), "missing"),
    "a product lost": (lambda w: w.redis.delete(redis_keys.location(f"p:{gtin(1)}")[0]), "missing"),
    "all items of a batch lost": (lambda w: w.redis.delete(_item_hash(w)), "missing"),
    "all standings lost": (lambda w: w.redis.delete(redis_keys.STANDINGS), "mark"),
    "a mark lost": (lambda w: w.redis.hdel(_item_hash(w), "_"), "mark"),
    "the mark of the standings lost": (lambda w: w.redis.hdel(redis_keys.STANDINGS, "_"), "mark"),
    "an old card": (_rewind, "older"),
    "a card of the future": (
        lambda w: w.redis.hset(redis_keys.STANDINGS, f"enterprise:{uscc(1)}", redis_keys.pack(2**40, b"x")), "newer",
    ),
    "other bytes": (lambda w: w.redis.append(redis_keys.location(f"b:{w.item}")[0], b"x"), "altered"),
    "no card at all": (lambda w: (w.redis.delete(k := redis_keys.location(f"b:{w.item}")[0]), w.redis.lpush(k, 1)), "unreadable"),
    "a product of nobody": (lambda w: w.redis.set("zp:{p:00000000000000}", redis_keys.pack(1, b"x")), "stray"),
    "a batch of nobody": (lambda w: w.redis.set("zp:{b:777}", redis_keys.pack(1, b"x")), "stray"),
    "a lot of nobody": (lambda w: w.redis.set(f"zp:{{p:{gtin(1)}}}:l:NO", redis_keys.pack(1, b"x")), "stray"),
    "an item of nobody": (lambda w: w.redis.hset(_item_hash(w), "77", redis_keys.pack(1, b"x")), "stray"),
    "a standing of nobody": (lambda w: w.redis.hset(redis_keys.STANDINGS, "lot:1:2", redis_keys.pack(1, b"x")), "stray"),
}  # fmt: skip


def test_what_differs_in_redis_is_reported_and_repaired(world: CheckedService) -> None:
    """A check changes nothing; a repair fixes all differences and reports them."""
    for damage, (act, kind) in REDIS_DAMAGES.items():
        act(world)
        before = _dump(world.redis)
        outcome = world.of("projection")
        assert kind in {finding.reason for finding in outcome.findings}, damage
        assert outcome.state is InvariantState.BROKEN, damage
        assert _dump(world.redis) == before, damage
        repaired = world.of("projection", repair=True)
        assert (repaired.state, repaired.repaired) == (InvariantState.REPAIRED, repaired.wrong), damage
        assert repaired.repairs, damage
        for check in ("projection", "projection-head", "cards", "card-head"):
            assert world.of(check).state is InvariantState.HOLDS, damage


def _dump(redis: Redis) -> dict[bytes, Any]:
    names: Any = redis.keys("zp:{[pbs]*")
    return {name: redis.dump(name) for name in names}


def test_a_card_that_is_not_yet_copied_to_redis_is_not_wrong(world: CheckedService) -> None:
    """A committed decision that is not yet projected: Redis's head is older, so this is no difference."""
    world.sql("UPDATE card_head SET revision = revision + 1")
    world.sql("UPDATE card SET revision = (SELECT revision FROM card_head) WHERE key = 'p:' || :gtin")
    assert world.of("projection").state is InvariantState.HOLDS
    (behind,) = world.of("projection-head").findings
    assert behind.reason == "behind"
    assert world.of("projection-head", repair=True).state is InvariantState.REPAIRED
    assert world.check().whole


def test_an_empty_redis_is_said_to_be_empty_and_filled(world: CheckedService) -> None:
    """Nothing in it can be compared before."""
    world.redis.flushall()
    assert world.of("projection").state is InvariantState.UNKNOWN
    (empty,) = world.of("projection-head").findings
    assert empty.reason == "empty"
    report = world.check(repair=True)
    assert report.of("projection-head").state is InvariantState.REPAIRED
    assert report.whole


def test_a_history_that_redis_has_lost_is_raised_again(world: CheckedService) -> None:
    """Otherwise an old copy of Redis would call a later scan “first scan”."""
    where, name = redis_keys.history(world.item, 1)
    world.redis.hdel(where, name)
    assert world.of("histories", deep=True).state is InvariantState.BROKEN
    assert world.of("histories", deep=True, repair=True).state is InvariantState.REPAIRED
    assert world.of("histories", deep=True).state is InvariantState.HOLDS


def test_a_history_that_redis_does_not_claim_to_know_is_not_wrong(world: CheckedService) -> None:
    """Without the marks of completeness the history is read from the database, as after a flush."""
    where, _ = redis_keys.history(world.item, 1)
    world.redis.delete(where, redis_keys.history_complete(world.item))
    assert world.of("histories", deep=True).state is InvariantState.HOLDS


def test_an_entry_that_nobody_drains_is_found(world: CheckedService) -> None:
    """No consumer group, although the stream has entries."""
    world.redis.xgroup_destroy(redis_keys.SCANS, redis_keys.SCAN_GROUP)
    assert world.of("stream").state is InvariantState.HOLDS
    world.redis.xadd(redis_keys.SCANS, {"e": b"x"})
    (finding,) = world.of("stream").findings
    assert finding.reason == "undrained"


def test_an_entry_that_a_drainer_sits_on_is_found(world: CheckedService) -> None:
    """An entry taken eleven minutes ago and not acknowledged."""
    world.redis.xadd(redis_keys.SCANS, {"e": b"x"})
    world.redis.xreadgroup(redis_keys.SCAN_GROUP, "worker-0", {redis_keys.SCANS: ">"})
    assert world.of("stream").state is InvariantState.HOLDS
    (pending,) = world.redis.xpending_range(redis_keys.SCANS, redis_keys.SCAN_GROUP, "-", "+", 1)
    entry: Any = pending["message_id"]
    world.redis.xclaim(redis_keys.SCANS, redis_keys.SCAN_GROUP, "worker-0", 0, [entry], idle=660_000)
    (finding,) = world.of("stream").findings
    assert (finding.reason, finding.where) == ("stuck", entry.decode())


def test_entries_that_are_no_histories_are_named_and_put_right(
    world: CheckedService, addresses: ServerAddresses
) -> None:
    """Written with the scan account: the check names key and field, goes on, and the counts come back from the database."""
    where, name = redis_keys.history(world.item, 1)
    right: Any = world.redis.hget(where, name)
    other = redis_keys.history(world.item, 200)[0]
    astray = [  # what the patterns of the ACL permit besides
        redis_keys.history(world.item, 10**9)[0],
        redis_keys.history(99, 0)[0],
        redis_keys.history(2**26, 0)[0],
        f"zp:{{b:0{world.item}}}:h:0",
        f"{where}:h:0",
        f"{where}{'0' * 100_000}",
    ]
    with closing(Redis.from_url(addresses.scan_redis)) as scan:
        scan.hset(where, mapping={name: b"\x94\x01\x01\xda\x01\x06\xff", "77": b"", "x": b"1", "128": b"1"})
        scan.hset(other, "72", b"\xff" * 100_000)
        scan.hset(f"zp:{{b:{world.item}}}:h:0x", "1", right)
        scan.hset("zp:{b:1\xff}:h:0", "1", right)
        for key in astray:
            scan.hset(key, "1", right)
    findings = world.of("histories", deep=True).findings
    assert {("unreadable", key[:60]) for key in astray} <= {(one.reason, one.where) for one in findings}
    assert {(one.reason, one.where) for one in findings} >= {
        ("unreadable", f"{where} {name}"),
        ("unreadable", f"{where} 77"),
        ("unreadable", f"{where} x"),
        ("unreadable", f"{where} 128"),
        ("unreadable", other),
        ("unreadable", f"{where}x"),
    }
    assert [one.reason for one in world.of("histories").findings] == ["unreadable"], "a sample reads what it compares"
    assert world.of("histories", deep=True, repair=True).repairs
    assert not world.of("histories", deep=True).findings
    assert not world.redis.exists(f"{where}x", *astray), "keys that no item has are deleted"
    repaired: Any = world.redis.hget(where, name)
    assert histories.unpack(repaired).scans == histories.unpack(right).scans == 2


def test_an_inbox_that_nobody_empties_is_named(world: CheckedService) -> None:
    world.redis.rpush(redis_keys.INBOX, b"x")
    assert world.of("stream").state is InvariantState.HOLDS
    world.redis.set(redis_keys.INBOX_SINCE, int((world.context.now - timedelta(minutes=11)).timestamp() * 1000))
    assert [(one.reason, one.where) for one in world.of("stream").findings] == [("undrained", redis_keys.INBOX)]
    world.redis.delete(redis_keys.INBOX_SINCE)
    assert world.of("stream").state is InvariantState.BROKEN, "a worker has never run"
    world.redis.delete(redis_keys.INBOX)
    world.redis.set(redis_keys.INBOX, "text")
    assert [one.reason for one in world.of("stream").findings] == ["unreadable"]


def test_a_check_that_fails_does_not_hide_the_others(world: CheckedService, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    monkeypatch.setattr(run, "CHECKS", ((scans.HISTORIES, broken), *run.CHECKS[:2]))
    report = world.check()
    assert report.of("histories").state is InvariantState.UNKNOWN
    assert not report.whole
    assert [outcome.state for outcome in report.outcomes[1:]] == [InvariantState.HOLDS] * 2
