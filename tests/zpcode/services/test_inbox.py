"""The inbox of scans, written with the scan service's own account: what it may append, and what a poisoned entry costs."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import Engine, func, select, text

from tests.support.databases import as_owner
from tests.support.issuing_setting import GTIN
from tests.support.scanned_batches import may_be_scanned
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Unavailable
from zpcode.services import inbox, scans
from zpcode.store.database.session import connect, transaction
from zpcode.store.tables.codes import scan as scan_table
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.redis_keys import INBOX, INBOX_SINCE, SCAN_GROUP, SCANS
from zpcode.wire.scan_event import AT_ONCE, MAX_ENTRY_BYTES, SINCE_FIELD, ScanEvent, encode


@pytest.fixture
def scan(addresses: ServerAddresses) -> Iterator[Any]:
    """Redis as the scan service."""
    with closing(Redis.from_url(addresses.scan_redis)) as client:
        yield client


@pytest.fixture(autouse=True)
def _batches(engine: Engine) -> None:
    with as_owner(engine) as connection:
        connection.execute(text(f"SELECT setval('batch_number', {MAX_BATCH})"))
    may_be_scanned(engine, [7, MAX_BATCH])


def event(index: int = 5, **changes: Any) -> ScanEvent:
    """A scan of an item of batch 7, now."""
    base = ScanEvent(
        int(time.time() * 1000), GTIN, "L1", 7, index, "verified", "", "", b"12345678", "zh-CN", "browser", counted=True
    )
    return msgspec.structs.replace(base, **changes)


def drained(engine: Engine, redis: Redis) -> Counter[str]:
    """Drain everything; returns what was refused, by reason."""
    refused: Counter[str] = Counter()
    while scans.drain(engine, redis, consumer="one", refuse=lambda reason, number: refused.update({reason: number})):
        pass
    return refused


def stored(engine: Engine) -> int:
    """The number of stored scans."""
    with transaction(engine) as connection:
        return int(connection.execute(select(func.count()).select_from(scan_table)).scalar_one())


def test_the_scan_service_appends_and_the_worker_stores(engine: Engine, redis: Redis, scan: Any) -> None:
    for index in range(250):
        scan.rpush(INBOX, encode([event(index)]))
    assert drained(engine, redis) == {}
    assert stored(engine) == 250
    assert (redis.exists(INBOX), redis.xlen(SCANS)) == (0, 0)


def test_so_many_bytes_are_taken_over_at_once_whatever_their_number(redis: Redis, scan: Any) -> None:
    """The server does nothing else meanwhile. The entry that reaches the bound is the last; one of the greatest length is taken."""
    at_once = -(-inbox.MAX_BYTES // MAX_ENTRY_BYTES)
    redis.xgroup_create(SCANS, SCAN_GROUP, id="0", mkstream=True)
    for _ in range(at_once + 2):
        scan.rpush(INBOX, b"\x91".ljust(MAX_ENTRY_BYTES, b"\0"))
    assert inbox.collect(redis, 10**6, "one") == (at_once, 0, 0)
    assert inbox.collect(redis, 10**6, "one") == (2, 0, 0)


def test_when_the_inbox_was_empty_is_noted_only_while_it_is_and_not_each_time(redis: Redis, scan: Any) -> None:
    """An idle worker asks four times a second: a time that is not ten seconds old stays as it is."""
    redis.xgroup_create(SCANS, SCAN_GROUP, id="0", mkstream=True)
    redis.set(INBOX_SINCE, 1_000)
    for _ in range(2):
        scan.rpush(INBOX, b"x")
    inbox.collect(redis, 1, "one")
    assert redis.get(INBOX_SINCE) == b"1000"
    inbox.collect(redis, 1, "one")
    assert redis.get(INBOX_SINCE) != b"1000"
    redis.set(INBOX_SINCE, young := int(time.time() * 1000) + 60_000)
    inbox.collect(redis, 1, "one")
    assert redis.get(INBOX_SINCE) == str(young).encode()


def test_250_scans_with_the_longest_texts_are_one_entry() -> None:
    longest = event(
        SLOT, at_ms=2**45, batch=2**26 - 1, lot="L" * 20, verdict="recognition_ended", city="新疆维吾尔自治区巴音郭楞",
        network="2001:0db8:ffff::/48", language="zh-Hant-TW", channel="dingtalk",
    )  # fmt: skip
    assert len(encode([longest] * AT_ONCE)) < MAX_ENTRY_BYTES / 2


SLOT = 2**34 - 1
POISON: dict[str, Callable[[], bytes]] = {
    "60 000 scans": lambda: encode([event(gtin="", lot="", at_ms=1)] * 60_000),
    "an array that claims four billion": lambda: b"\xdd\xff\xff\xff\xff",
    "too many small scans": lambda: encode([event(gtin="", lot="", at_ms=1)] * (AT_ONCE + 1)),
    "no UTF-8": lambda: b"\x91\x9c" + b"\xa1\xff" * 12,
    "nothing": lambda: b"",
    "deep": lambda: b"\x91" * 90_000,
    "one byte too long": lambda: bytes(MAX_ENTRY_BYTES + 1),
}


@pytest.mark.parametrize("name", list(POISON))
def test_a_poisoned_entry_costs_one_entry(engine: Engine, redis: Redis, scan: Any, name: str) -> None:
    """Those before and behind it are stored, and the worker never reads one that is too large or does not begin as one."""
    poison = POISON[name]()
    drained(engine, redis)
    for entry in (encode([event(1)]), poison, encode([event(2)]), poison, encode([event(3)])):
        scan.rpush(INBOX, entry)
    del entry
    tracemalloc.start()
    refused = drained(engine, redis)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused == {"entry_size" if len(poison) > MAX_ENTRY_BYTES else "entry_unreadable": 2}
    assert stored(engine) == 3
    assert peak < 2 * 1024 * 1024
    assert (redis.exists(INBOX), redis.xlen(SCANS)) == (0, 0)


def test_an_argument_of_more_than_sixteen_megabytes_is_refused_by_the_server(redis: Redis, scan: Any) -> None:
    """It is never in the server's memory."""
    with pytest.raises((ConnectionError, RedisError)):
        scan.rpush(INBOX, encode([event()] * 600_000))
    assert redis.exists(INBOX) == 0


def test_many_large_entries_are_never_in_memory_at_once(engine: Engine, redis: Redis, scan: Any) -> None:
    """100 entries at once, but at most 4 MiB of them."""
    drained(engine, redis)
    largest = encode([event(lot="x" * 64, city="y" * 64, network="z" * 64, verdict="w" * 64)] * AT_ONCE)
    assert len(largest) < MAX_ENTRY_BYTES
    for _ in range(120):
        scan.rpush(INBOX, largest)
    tracemalloc.start()
    assert drained(engine, redis) == {"scan_bounds": 120 * AT_ONCE}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.lists(
        st.lists(st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=70), max_size=13),
        max_size=3,
    ).map(msgspec.msgpack.encode)
    | st.builds(
        ScanEvent, st.integers(-(2**63), 2**64 - 1), *[st.text(max_size=70)] * 2, *[st.none() | st.integers(-(2**63), 2**64 - 1)] * 2,
        *[st.text(max_size=70)] * 2, st.text(max_size=70) | st.ip_addresses().map(str), st.binary(max_size=70),
        *[st.text(max_size=70)] * 2, st.booleans(),
    ).map(lambda one: encode([one]))
)  # fmt: skip
def test_whatever_is_appended_the_next_scan_is_stored(engine: Engine, redis: Redis, scan: Any, entry: bytes) -> None:
    before = stored(engine)
    scan.rpush(INBOX, entry)
    scan.rpush(INBOX, encode([event()]))
    drained(engine, redis)
    assert stored(engine) - before in {1, 2}


@pytest.mark.parametrize(
    "junk", [b"x", b"", b"\x90", b"\xdc", b"\xdc\x00", b"\xdc\x00\xfb", b"\xdd\0\0\0\1", b"\x91\xc0"]
)
def test_a_flood_of_tiny_entries_costs_few_turns_and_few_lines(
    engine: Engine, redis: Redis, scan: Any, caplog: pytest.LogCaptureFixture, junk: bytes
) -> None:
    """The scans behind it are stored."""
    for _ in range(10):
        scan.rpush(INBOX, *([junk] * 1000))
    scan.rpush(INBOX, encode([event()]))
    refused: Counter[str] = Counter()
    turns = 0
    while scans.drain(engine, redis, consumer="one", refuse=lambda reason, number: refused.update({reason: number})):
        turns += 1
    assert turns <= 10_001 // scans.MAX_ENTRIES + 1
    assert refused == {"entry_unreadable": 10_000}
    assert len(caplog.records) <= turns
    assert stored(engine) == 1


def test_what_is_no_entry_never_comes_to_the_stream(redis: Redis, engine: Engine, scan: Any) -> None:
    drained(engine, redis)
    scan.rpush(INBOX, b"x", b"", encode([event()]), b"\x90", bytes(MAX_ENTRY_BYTES + 1))
    assert inbox.collect(redis, 100, "one") == (1, 1, 3)


def test_scans_that_are_taken_over_at_once_are_bounded(redis: Redis, engine: Engine, scan: Any) -> None:
    """A scan of twelve bytes becomes a row of a kilobyte."""
    drained(engine, redis)
    smallest = encode([event(gtin="", lot="", at_ms=1, verdict="", visitor=b"", language="", channel="")] * AT_ONCE)
    for _ in range(200):
        scan.rpush(INBOX, smallest)
    assert inbox.collect(redis, scans.MAX_ENTRIES, "one").taken == inbox.MAX_SCANS // AT_ONCE


def test_beyond_its_bound_the_newest_entries_of_the_inbox_are_dropped_and_counted(
    engine: Engine, redis: Redis, scan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while the database is away. A thief can only append, so he pushes out nothing that waits."""
    monkeypatch.setattr(inbox, "MAX_WAITING", 100)
    drained(engine, redis)
    scan.rpush(INBOX, *(encode([event(index)]) for index in range(60)))
    nobody = connect("postgresql://nobody@127.0.0.1:1/none", pool_size=1)
    refused: Counter[str] = Counter()
    for _ in range(3):
        scan.rpush(INBOX, *([b"\x91\xc0"] * 1000))
        with pytest.raises(Unavailable):
            scans.drain(nobody, redis, consumer="one", refuse=lambda reason, number: refused.update({reason: number}))
        assert redis.llen(INBOX) <= 100
    nobody.dispose()
    assert refused["inbox_length"] == 60 + 3000 - 200
    drained(engine, redis)
    assert stored(engine) == 60


def test_a_forged_date_is_not_a_first_scan(engine: Engine, redis: Redis, scan: Any) -> None:
    """The inbox was emptied a moment ago: an event of 2020 becomes one of an hour ago."""
    drained(engine, redis)
    scan.rpush(INBOX, encode([event(at_ms=1_577_836_800_000)]))
    assert drained(engine, redis) == {"scan_time": 1}
    with transaction(engine) as connection:
        (at,) = connection.execute(select(scan_table.c.at)).scalars()
    assert 3500 < time.time() - at.timestamp() < 3700


def test_the_time_since_the_inbox_was_empty_stays_while_it_is_not(engine: Engine, redis: Redis, scan: Any) -> None:
    """While no worker runs, and while PostgreSQL is away, an entry keeps the earliest time at which it may have come."""
    drained(engine, redis)
    redis.set(INBOX_SINCE, 1_700_000_000_000)
    scan.rpush(INBOX, encode([event()]))
    nobody = connect("postgresql://nobody@127.0.0.1:1/none", pool_size=1)
    with pytest.raises(Unavailable):
        scans.drain(nobody, redis, consumer="one")
    nobody.dispose()
    entries: Any = redis.xrange(SCANS)
    assert [fields[SINCE_FIELD] for _, fields in entries] == [b"1700000000000"]
    assert drained(engine, redis) == {}
    assert abs(int(redis.get(INBOX_SINCE) or 0) / 1000 - time.time()) < 60


def test_while_the_database_is_away_only_the_inbox_grows(engine: Engine, redis: Redis, scan: Any) -> None:
    """So the limit of the inbox bounds everything that waits."""
    drained(engine, redis)
    nobody = connect("postgresql://nobody@127.0.0.1:1/none", pool_size=1)
    for turn in range(5):
        for index in range(100):
            scan.rpush(INBOX, encode([event(100 * turn + index)]))
        with pytest.raises(Unavailable):
            scans.drain(nobody, redis, consumer="one")
    nobody.dispose()
    assert (redis.xlen(SCANS), redis.llen(INBOX)) == (100, 400)
    drained(engine, redis)
    assert stored(engine) == 500


def test_what_a_worker_takes_over_is_its_own(engine: Engine, redis: Redis, scan: Any) -> None:
    """A worker that polls at that moment takes nothing of it; after a crash the next one on its slot finishes it."""
    drained(engine, redis)
    scan.rpush(INBOX, encode([event()]))
    assert inbox.collect(redis, 100, "one") == (1, 0, 0)
    assert scans.drain(engine, redis, consumer="two") == 0
    assert scans.drain(engine, redis, consumer="one") == 1
    assert stored(engine) == 1


def test_two_workers_share_the_inbox(engine: Engine, redis: Redis, scan: Any) -> None:
    for index in range(300):
        scan.rpush(INBOX, encode([event(index)]))
    done = [scans.drain(engine, redis, consumer=name, limit=100) for name in ("one", "two") * 2]
    assert done == [100, 100, 100, 0]
    assert stored(engine) == 300


@pytest.mark.parametrize("kind", ["hash", "list", "last id"])
@pytest.mark.parametrize("key", [INBOX, INBOX_SINCE, SCANS])
def test_what_lies_in_the_place_of_inbox_and_stream_stops_no_worker(
    engine: Engine, redis: Redis, scan: Any, key: str, kind: str
) -> None:
    """Put there with the account of the authority."""
    scan.rpush(INBOX, encode([event(1)]))
    assert drained(engine, redis) == {}
    redis.delete(key)
    if kind == "hash":
        redis.hset(key, "x", "x")
    elif kind == "list":
        redis.rpush(key, encode([event(2)]))
    else:
        redis.xadd(key, {"x": "x"}, id="18446744073709551615-18446744073709551615")
    drained(engine, redis)
    before = stored(engine)
    scan.rpush(INBOX, encode([event(3)]))
    assert drained(engine, redis) == {}
    assert stored(engine) == before + 1
