"""Scans from the stream into PostgreSQL: each is stored once, despite repeated, broken or interrupted deliveries."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine, select, text

from tests.support.issuing_setting import GTIN, NOW
from tests.support.scanned_batches import may_be_scanned
from zpcode.errors import Unavailable
from zpcode.services import scans
from zpcode.store.database.session import connect, transaction
from zpcode.store.tables.codes import item_history, scan
from zpcode.wire.redis_keys import SCAN_GROUP, SCANS
from zpcode.wire.scan_event import ScanEvent, encode

MS = int(NOW.timestamp() * 1000)


def event(**changes: Any) -> ScanEvent:
    """A first scan of item 5 of batch 7 in Hangzhou at NOW, with these changes."""
    values: dict[str, Any] = {
        "at_ms": MS,
        "gtin": GTIN,
        "lot": "L1",
        "batch": 7,
        "index": 5,
        "verdict": "verified",
        "city": "杭州|Hangzhou",
        "network": "192.0.2.0/24",
        "visitor": b"12345678",
        "language": "zh-CN",
        "channel": "browser",
        "counted": True,
    }
    return ScanEvent(**{**values, **changes})


def put(redis: Redis, *events: ScanEvent | bytes) -> list[str]:
    """Add scans to the stream as the inbox was taken over at NOW; returns the ids of the entries."""
    return put_at(redis, MS, *events)


def put_at(redis: Redis, ms: int, *events: ScanEvent | bytes) -> list[str]:
    """The same at another time."""
    values = [event if isinstance(event, bytes) else encode([event]) for event in events]
    entries: list[Any] = [redis.xadd(SCANS, {"e": value, "s": ms}, id=f"{ms}-*") for value in values]
    return [entry.decode("ascii") for entry in entries]


class RefusedScans(Counter[str]):
    """What `drain` has refused, by reason."""

    def refuse(self, reason: str, number: int) -> None:
        """Count it."""
        self[reason] += number


REFUSED = RefusedScans()


@pytest.fixture(autouse=True)
def _nothing_refused_yet(engine: Engine) -> None:
    may_be_scanned(engine, [7])
    REFUSED.clear()


def drain(engine: Engine, redis: Redis, consumer: str = "one", limit: int = 1000) -> int:
    """One step."""
    return scans.drain(engine, redis, consumer=consumer, limit=limit, refuse=REFUSED.refuse)


def rows(engine: Engine) -> list[Any]:
    """Every drained scan in the order of its time."""
    with transaction(engine) as connection:
        return list(connection.execute(select(scan).order_by(scan.c.at, scan.c.entry)))


def history(engine: Engine) -> dict[tuple[int, int], Any]:
    """Every item's history."""
    with transaction(engine) as connection:
        return {(row[0], row[1]): row for row in connection.execute(select(item_history))}


def test_a_scan_is_stored_whole_and_taken_out_of_the_stream(engine: Engine, redis: Redis) -> None:
    """Every field, then acknowledged and deleted."""
    (entry,) = put(redis, event())
    assert drain(engine, redis) == 1
    (row,) = rows(engine)
    assert (row.at, row.entry, row.gtin, row.lot, row.batch, row.index) == (NOW, f"{entry}.0", GTIN, "L1", 7, 5)
    assert (row.verdict, row.city, str(row.network), bytes(row.visitor)) == (
        "verified",
        "杭州|Hangzhou",
        "192.0.2.0/24",
        b"12345678",
    )
    assert redis.xlen(SCANS) == 0
    assert redis.xpending(SCANS, SCAN_GROUP)["pending"] == 0
    assert drain(engine, redis) == 0


def test_a_scan_of_an_item_that_does_not_exist_is_in_no_history(engine: Engine, redis: Redis) -> None:
    """Batches that nobody has ordered: somebody with the scan service's account could fill the histories with them.

    The scans are stored, as those of other codes that are not ours.
    """
    put(redis, event(batch=60_000_000), event(batch=0, index=0), event())
    assert drain(engine, redis) == 3
    assert len(rows(engine)) == 3
    assert list(history(engine)) == [(7, 5)]
    assert REFUSED == {"scan_item": 2}


def test_histories_are_summed_up_by_item(engine: Engine, redis: Redis) -> None:
    """Number of scans, first time and city, last time; only counted scans of items."""
    later = MS + 60_000
    put(redis, event(at_ms=later, city="宁波|Ningbo"), event(), event(index=6, at_ms=later), event(counted=False))
    put(redis, event(batch=None, index=None))
    drain(engine, redis)
    histories = history(engine)
    assert set(histories) == {(7, 5), (7, 6)}
    assert (histories[7, 5].scans, histories[7, 5].first_at, histories[7, 5].first_city) == (2, NOW, "杭州|Hangzhou")
    assert histories[7, 5].last_at == NOW + timedelta(minutes=1)
    put(redis, event(at_ms=MS - 1000, city="温州|Wenzhou"))
    drain(engine, redis)
    assert (history(engine)[7, 5].scans, history(engine)[7, 5].first_city) == (3, "温州|Wenzhou")


def test_an_entry_delivered_twice_counts_once(engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash between commit and acknowledgement the next step skips the stored entry."""
    put(redis, event(), event(index=6))

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(scans, "_done", crash)
        with pytest.raises(KeyboardInterrupt):
            drain(engine, redis)
    assert len(rows(engine)) == 2
    assert redis.xlen(SCANS) == 2
    assert drain(engine, redis) == 2
    assert len(rows(engine)) == 2
    assert {item.scans for item in history(engine).values()} == {1}
    assert redis.xlen(SCANS) == 0


def test_what_another_drainer_left_is_taken_over(engine: Engine, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute in production, at once here."""
    put(redis, event())
    scans._prepare(redis)
    redis.xreadgroup(SCAN_GROUP, "dead", {SCANS: ">"})
    assert drain(engine, redis, "alive") == 0
    monkeypatch.setattr(scans, "ABANDONED_MS", 0)
    assert drain(engine, redis, "alive") == 1
    assert len(rows(engine)) == 1


def test_while_the_database_is_away_scans_wait_in_the_stream(engine: Engine, redis: Redis) -> None:
    """Nothing is acknowledged before it is committed."""
    put(redis, event())
    nobody = connect("postgresql://nobody@127.0.0.1:1/none", pool_size=1)
    with pytest.raises(Unavailable):
        drain(nobody, redis)
    nobody.dispose()
    assert redis.xlen(SCANS) == 1
    assert drain(engine, redis) == 1
    assert len(rows(engine)) == 1


def test_without_redis_it_says_so(engine: Engine) -> None:
    """Every error of the client becomes one error."""
    with pytest.raises(Unavailable):
        drain(engine, Redis.from_url("redis://127.0.0.1:1", protocol=2))


HOSTILE = [
    b"",
    b"\xff" * 50,
    msgspec.msgpack.encode({"at_ms": 1}),
    msgspec.msgpack.encode([]),
    encode([event(gtin="9" * 15)]),
    encode([event(lot="A\0B")]),
    encode([event(city="x" * 100_000)]),
    encode([event(visitor=b"x" * 100)]),
    b"\x91\x9c" + b"\xa1\xff" * 12,
    encode([event()] * 251),
    msgspec.msgpack.encode([[*msgspec.to_builtins(event()), "unknown"]]),
    encode([event(city="杭州\n")]),
    encode([event(network="192.0.2.0/24" + " " * 100)]),
    encode([event(batch=-1)]),
    encode([event(batch=2**63 - 1)]),
    encode([event(index=2**34)]),
    encode([event(index=-5)]),
    encode([event(network="not a network")]),
    encode([event(network="192.0.2.0/99")]),
]


def test_what_cannot_be_read_is_dropped_and_holds_up_nothing(engine: Engine, redis: Redis) -> None:
    """Broken entries between good ones: the good ones are stored, the stream is empty."""
    for broken in HOSTILE:
        put(redis, event(), broken)
    redis.xadd(SCANS, {"another": "field"})
    assert drain(engine, redis) == 2 * len(HOSTILE) + 1
    assert len(rows(engine)) == len(HOSTILE)
    assert history(engine)[7, 5].scans == len(HOSTILE)
    assert redis.xlen(SCANS) == 0
    assert REFUSED.total() == len(HOSTILE) + 1 - HOSTILE.count(msgspec.msgpack.encode([]))


MINUTE = 60_000


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (MS - 59 * MINUTE, MS - 59 * MINUTE),
        (MS - 61 * MINUTE, MS - 60 * MINUTE),
        (int(datetime(2020, 1, 1, tzinfo=NOW.tzinfo).timestamp() * 1000), MS - 60 * MINUTE),
        (0, MS - 60 * MINUTE),
        (-(2**60), MS - 60 * MINUTE),
        (MS + 4 * MINUTE, MS + 4 * MINUTE),
        (MS + 6 * MINUTE, MS + 5 * MINUTE),
        (2**64 - 1, MS + 5 * MINUTE),
    ],
)
def test_a_scan_lies_at_most_an_hour_before_its_entry(engine: Engine, redis: Redis, sent: int, stored: int) -> None:
    """Another time is moved to the bound: a process that buffered through an outage loses no scan, and no date is invented."""
    put(redis, event(at_ms=sent))
    drain(engine, redis)
    (row,) = rows(engine)
    assert row.at.timestamp() * 1000 == stored
    assert REFUSED["scan_time"] == (sent != stored)
    assert history(engine)[7, 5].first_at == row.at


def test_scans_that_waited_while_no_worker_ran_keep_their_time(engine: Engine, redis: Redis) -> None:
    """The inbox was not empty for two days: its entries may have come at any time since."""
    since = MS - 48 * 60 * MINUTE
    redis.xadd(SCANS, {"e": encode([event(at_ms=since + 1)]), "s": since}, id=f"{MS}-*")
    drain(engine, redis)
    (row,) = rows(engine)
    assert row.at.timestamp() * 1000 == since + 1


def test_an_entry_trimmed_after_it_was_read_holds_up_nothing(engine: Engine, redis: Redis) -> None:
    """The stream is bounded: Redis may have removed an entry that is still pending."""
    (entry,) = put(redis, event())
    scans._prepare(redis)
    redis.xreadgroup(SCAN_GROUP, "one", {SCANS: ">"})
    redis.xdel(SCANS, entry)
    assert drain(engine, redis) == 1
    assert drain(engine, redis) == 0
    assert rows(engine) == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("192.0.2.77/32", "192.0.2.0/24"),
        ("192.0.2.77", "192.0.2.0/24"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("2001:db8:1:2:3::4/128", "2001:db8:1::/48"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
    ],
)
def test_no_more_than_a_24_or_48_of_an_address_is_kept(engine: Engine, redis: Redis, sent: str, kept: str) -> None:
    """Even if the scan service did not shorten the address."""
    put(redis, event(network=sent))
    drain(engine, redis)
    assert str(rows(engine)[0].network) == kept


def test_no_step_takes_more_than_it_may(engine: Engine, redis: Redis) -> None:
    """In order, so many at a time."""
    put(redis, *(event(index=index) for index in range(25)))
    assert [drain(engine, redis, limit=10) for _ in range(4)] == [10, 10, 5, 0]
    assert len(rows(engine)) == 25


def test_after_a_flush_draining_goes_on(engine: Engine, redis: Redis) -> None:
    """The consumer group was removed too and is made again."""
    put(redis, event())
    drain(engine, redis)
    redis.flushall()
    assert drain(engine, redis) == 0
    put(redis, event(index=9))
    assert drain(engine, redis) == 1


@pytest.mark.parametrize(("day", "month"), [(date(2026, 11, 21), "scan_2026_12"), (date(2026, 12, 31), "scan_2027_01")])
def test_this_month_and_the_next_have_partitions(engine: Engine, redis: Redis, day: date, month: str) -> None:
    """Partitions are made in advance and once; scans are stored in them."""
    scans.ensure_partitions(engine, day)
    scans.ensure_partitions(engine, day)
    moment = datetime.combine(day, NOW.timetz())
    ms = int(moment.timestamp() * 1000)
    put_at(redis, ms, event(at_ms=ms))
    scans.drain(engine, redis, consumer="one")
    with transaction(engine) as connection:
        tables = {row[0] for row in connection.execute(text("SELECT tableoid::regclass::text FROM scan"))}
        there = connection.execute(text("SELECT to_regclass(:name)"), {"name": month}).scalar()
    assert tables == {f"scan_{day:%Y_%m}"}
    assert there is not None
