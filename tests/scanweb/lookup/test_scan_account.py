"""What the scan account of Redis may write, wherever it may write it, never changes what the authority has decided."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ResponseError

from scanweb.lookup import history
from scanweb.lookup.history import ItemQuery, ItemReply
from scanweb.lookup.memory import decode_entry
from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.wire import card, payload, redis_keys
from zpcode.wire.card import History, Standing, Timeline
from zpcode.wire.functions import histories, library
from zpcode.wire.permutation import SLOTS, Permutation
from zpcode.wire.vocabulary import Bilingual, State

GOOD = Timeline((Standing(State.GOOD, 1),))
RECALLED = Timeline((Standing(State.RECALLED, 1, note=Bilingual("攻击者", "attacker")),))


def swallowing(timeline: Timeline, size: int, real: int) -> bytes:
    """A packed timeline of `size` bytes. Its unknown last member also takes the `real` bytes that follow it."""
    body = bytearray(msgspec.msgpack.encode(timeline))
    body[0] += 1  # one more member of the map
    body += b"\xa1z\xc5"
    body += (size - 8 - len(body) - 2 + real).to_bytes(2, "big")
    return redis_keys.pack(2**40, bytes(body)).ljust(size, b"\0")


def entries(timeline: Timeline, real: int) -> dict[str, bytes]:
    """Histories with a timeline inside them. `real` is the length of the item's own timeline in Redis."""
    whole = redis_keys.pack(2**40, msgspec.msgpack.encode(timeline))
    injected = swallowing(timeline, 256, real)
    return {
        "MessagePack, a city of 262 bytes": b"\x93\x01\x01\xda\x01\x06Ningbo" + injected,
        "MessagePack, a binary city": b"\x93\x01\x01\xc5\x01\x06Ningbo" + injected,
        "a length of 6 before 262 bytes": b"\0\0\0\1\0\0\0\1\6Ningbo" + injected,
        "a timeline behind the city": b"\0\0\0\1\0\0\0\1\6Ningbo" + whole,
        "a timeline for a city": b"\0\0\0\1\0\0\0\1" + bytes([len(whole)]) + whole,
    }


NAMES = list(entries(GOOD, 0))


@pytest.fixture
def scan(addresses: ServerAddresses) -> Iterator[Any]:
    with closing(Redis.from_url(addresses.scan_redis)) as client:
        yield client


@pytest.mark.parametrize("name", NAMES)
def test_a_revoked_item_stays_revoked(service: ScanService, registry: ScanAuthority, scan: Any, name: str) -> None:
    registry.put({card.item_key(7, 5): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, field, entries(GOOD, _length(registry.redis, 7, 5))[name])
    scan.hset(bucket, redis_keys.COMPLETE, 1)
    assert service.verdict(registry.item(5)) == "revoked"


@pytest.mark.parametrize("name", NAMES)
def test_an_item_without_decisions_gets_none(
    service: ScanService, registry: ScanAuthority, scan: Any, name: str
) -> None:
    registry.put({card.item_key(7, 6): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, field, entries(RECALLED, 0)[name])
    scan.hset(bucket, redis_keys.COMPLETE, 1)
    page = service.get(registry.item(5)).text
    assert service.verdict(registry.item(5)) == "verified"
    assert "attacker" not in page


def _length(redis: Any, number: int, index: int) -> int:
    return len(redis.hget(redis_keys.exceptions(number), index))


def _reply(scan: Any, *queries: ItemQuery) -> list[ItemReply]:
    """The function's reply as the scan service gets it."""
    try:
        reply = scan.execute_command(*history.command(queries, evicting=False))
    except ResponseError as error:
        reply = error
    return history.read_all(reply, len(queries))


def _query(index: int, visitor: bytes = b"anna") -> ItemQuery:
    return ItemQuery(7, index, 1_790_000_000, visitor, "杭州|Hangzhou")


def _entry(number: int, first: int, city: bytes = b"", visits: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">IIB", number, first, len(city) if length is None else length) + city + visits


WRONG: dict[str, bytes] = {
    "empty": b"",
    "cut off": _entry(1, 1)[:-1],
    "a float": msgspec.msgpack.encode([1.5, 1, "", b""]),
    "not a number": msgspec.msgpack.encode([float("nan"), 1, "", b""]),
    "negative": msgspec.msgpack.encode([-1, -1, "", b""]),
    "MessagePack of before": msgspec.msgpack.encode([5, 1_700_000_000, "杭州", b""]),
    "text": b"one of two",
    "no scans": _entry(0, 1),
    "more scans than there can be": _entry(2**31, 1),
    "of the future": _entry(1, 1_790_000_000 + 2 * 86400),
    "a city longer than the entry": _entry(1, 1, b"ab", length=64),
    "a city of 65 bytes": _entry(1, 1, b"x" * 65),
    "a city of 255 bytes": _entry(1, 1, b"x" * 255),
    "half a visit": _entry(1, 1, visits=b"annatt12"),
    "five visits": _entry(1, 1, visits=b"annatt123" * 5),
    "a megabyte": _entry(1, 1, visits=b"annatt123" * 116_508),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_an_entry_that_is_no_history_says_nothing_and_costs_its_own_item_alone(
    service: ScanService, registry: ScanAuthority, scan: Any, name: str
) -> None:
    registry.put({card.item_key(7, 5): make.standing(State.REVOKED), card.batch_key(7): make.batch(exceptions=True)})
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, mapping={field: WRONG[name], redis_keys.COMPLETE: b"1"})
    wrong, neighbour = _reply(scan, _query(5), _query(6))
    assert (wrong.history, wrong.counted, wrong.away, wrong.loaded) == (None, False, True, True)
    assert wrong.timeline == registry.redis.hget(redis_keys.exceptions(7), "5")
    assert (neighbour.history, neighbour.counted) == (History(1, 1_790_000_000, "杭州|Hangzhou"), True)
    assert registry.redis.hget(bucket, field) == WRONG[name], "and nothing is counted in it"
    with service.reads() as keys:
        assert service.verdict(registry.item(5)) == "revoked"
    assert keys == [], "nor does every scan of it ask the database"


def test_a_bucket_of_another_type_costs_its_own_items_alone(registry: ScanAuthority, scan: Any) -> None:
    registry.redis.set(redis_keys.history(7, 5)[0], "no hash")
    wrong, other = _reply(scan, _query(5), _query(500))
    assert (wrong.history, wrong.away) == (None, True)
    assert other.history == History(1, 1_790_000_000, "杭州|Hangzhou")


@pytest.mark.parametrize("city", [b"\xff\xfe", "杭\n州".encode(), "\u202e杭州".encode(), b"\0"])
def test_a_city_that_does_not_print_is_left_out(
    service: ScanService, registry: ScanAuthority, scan: Any, city: bytes
) -> None:
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, mapping={field: _entry(8, 1_700_000_000, city), redis_keys.COMPLETE: b"1"})
    history_shown = service.json(registry.item(5))["history"]
    assert (history_shown["scans"], history_shown["first_city"]) == (9, "")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=130)
    | st.builds(
        _entry, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=70), st.binary(max_size=40),
        st.none() | st.integers(0, 255),
    )
)  # fmt: skip
def test_whatever_is_in_a_bucket_the_function_and_fsck_agree_and_the_timeline_stays(
    registry: ScanAuthority, scan: Any, entry: bytes
) -> None:
    """An entry is a history for both or for neither; the number that a scan gets is then one more."""
    timeline = redis_keys.pack(1, msgspec.msgpack.encode(make.standing(State.REVOKED)))
    registry.redis.hset(redis_keys.exceptions(7), "5", timeline)
    bucket, field = redis_keys.history(7, 5)
    scan.hset(bucket, mapping={field: entry, redis_keys.COMPLETE: b"1"})
    (reply,) = _reply(scan, _query(5, b"new!"))
    assert reply.timeline == timeline
    try:
        stored = histories.unpack(entry)
    except ValueError:
        stored = None
    if reply.history is None:
        assert stored is None or stored.first_at > 1_790_000_000 + 86400
    elif stored is not None and reply.counted:
        assert reply.history.scans == min(stored.scans + 1, histories.MAX_SCANS)
        written: Any = registry.redis.hget(bucket, field)
        assert histories.unpack(written).scans == reply.history.scans


@pytest.mark.parametrize(
    "arguments",
    [
        ("x", 600, 0, "5", "anna", "", ""),
        ("nan", 600, 0, "5", "anna", "", ""),
        ("inf", 600, 0, "5", "anna", "", ""),
        (-1, 600, 0, "5", "anna", "", ""),
        (1, 0, 0, "5", "anna", "", ""),
        (1, 600, 0, "5", "anna", "x" * 65, ""),
        (1, 600, 0, "5", "annas", "", ""),
        (1, 600, 0, "1000", "anna", "", ""),
        (1, 600, 0, "_", "anna", "", ""),
        (1, 600, 0, "5", "anna", "", "_"),
        (1, 600, 0, "5", "anna"),
        (),
    ],
)
def test_the_function_refuses_arguments_out_of_range(
    registry: ScanAuthority, scan: Any, arguments: tuple[Any, ...]
) -> None:
    bucket, _ = redis_keys.history(7, 5)
    with pytest.raises(ResponseError):
        scan.fcall(library.ITEMS, 1, bucket, *arguments)
    assert registry.redis.exists(bucket) == 0


@pytest.mark.parametrize(
    "bucket",
    [
        "zp:{b:07}:h:0",
        "zp:{b:0}:h:0",
        "zp:{b:7}:h:00",
        "zp:{b:7}:h:134217728",
        "zp:{b:7}:h:" + "9" * 11,
        "zp:{b:7}:h:" + "1" * 100_000,
        "zp:{b:7}:h:1e3",
        "zp:{b:7}:h:0x1",
        "zp:{b:7}:h:0\n",
        "zp:{b:7}:h:0\0",
        "zp:{b:7}:h:0 ",
        "zp:{b:7}:h:0}:h:0",
        "zp:{b:7}:h:0:h:0",
    ],
    ids=lambda bucket: repr(bucket[:24]),
)
def test_the_function_counts_in_the_buckets_of_items_only(registry: ScanAuthority, scan: Any, bucket: str) -> None:
    """The patterns of the ACL permit each of these keys: a pattern cannot say "digits only"."""
    registry.put({f"b:{number}": make.batch(7) for number in ("0", "07")})
    with pytest.raises(ResponseError, match="not a query for an item"):
        scan.fcall(library.ITEMS, 1, bucket, 1, 600, 0, "5", "anna", "", "")
    assert registry.redis.exists(bucket) == 0


@pytest.mark.parametrize(("field", "index"), [("128", ""), ("05", ""), ("5.0", ""), ("5", "123456789012")])
def test_the_function_counts_at_the_numbers_of_items_only(
    registry: ScanAuthority, scan: Any, field: str, index: str
) -> None:
    bucket, _ = redis_keys.history(7, 5)
    with pytest.raises(ResponseError, match="not a query for an item"):
        scan.fcall(library.ITEMS, 1, bucket, 1, 600, 0, field, "anna", "", index)
    assert registry.redis.exists(bucket) == 0


def test_the_last_item_of_the_last_batch_can_be_counted(registry: ScanAuthority, scan: Any) -> None:
    registry.put({card.batch_key(payload.MAX_BATCH): make.batch(payload.MAX_BATCH)})
    bucket, field = redis_keys.history(payload.MAX_BATCH, SLOTS - 1)
    reply = scan.fcall(library.ITEMS, 1, bucket, 1, 600, 0, field, "anna", "", str(SLOTS - 1))
    assert reply[1] == 1


@pytest.mark.parametrize("number", [501, 25_000])
def test_the_function_answers_at_most_500_queries_of_one_call(registry: ScanAuthority, scan: Any, number: int) -> None:
    """A call stops the server for everybody: 200 000 items took it 13 s, and a call that has written cannot be ended."""
    bucket, _ = redis_keys.history(7, 5)
    queries = ["5", "anna", "", ""] * number
    with pytest.raises(ResponseError, match="not a query for an item"):
        scan.fcall(library.ITEMS, number, *[bucket] * number, 1, 600, 0, *queries)
    assert registry.redis.exists(bucket) == 0
    assert len(scan.fcall(library.ITEMS, 500, *[bucket] * 500, 1, 600, 0, *queries[:2000])) == 2500


@pytest.mark.parametrize(
    "command",
    [
        ("SET", b"s" * 32),
        ("SET", b"s" * 32, "NX"),
        ("SETRANGE", 0, b"s" * 32),
        ("APPEND", b"s"),
        ("GETDEL",),
        ("GETEX", "PERSIST"),
        ("DEL",),
        ("UNLINK",),
        ("EXPIRE", 1),
        ("HSET", "0", "s"),
        ("RPUSH", "s"),
    ],
    ids=lambda command: command[0],
)
def test_a_salt_is_read_and_not_written(registry: ScanAuthority, scan: Any, command: tuple[Any, ...]) -> None:
    """Who chooses the salt knows the addresses behind the marks; a salt of 16 MB would be fetched by each process."""
    today, tomorrow = (redis_keys.salt(time.time() + seconds) for seconds in (0, 86400))
    before = registry.redis.get(today)
    for key in (today, tomorrow, redis_keys.salt(0)):
        with pytest.raises(ResponseError, match=r"(?i)permission|NOPERM|ACL"):
            scan.execute_command(command[0], key, *command[1:])
    assert registry.redis.get(today) == before == scan.getrange(today, 0, -1)
    assert len(scan.getrange(today, 0, -1)) == redis_keys.SALT_BYTES


@pytest.mark.parametrize("wrong", [b"x" * 5, b"x" * 33, b"x" * 2**24])
def test_salts_of_another_form_are_not_used(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis, wrong: bytes
) -> None:
    for seconds in (0, 86400):
        redis.set(redis_keys.salt(time.time() + seconds), wrong)
    with ScanService(make.settings(addresses, registry.room)) as service:
        assert service.verdict(registry.item()) == "verified"
        assert not service.app.salts._shared
        assert len(service.app.salts.current(time.time())) == redis_keys.SALT_BYTES


def test_a_compact_code_for_a_sealed_batch_is_forged(service: ScanService, registry: ScanAuthority) -> None:
    """Such a batch has no check key. A check under an empty key is correct for nobody."""
    sealed = make.batch(9)
    assert sealed.check_key == b""
    serial = payload.Serial(9, Permutation(make.KEY).slot(0))
    for batch in (sealed, make.batch(9, level="compact", check_key=b"")):
        registry.put({card.batch_key(9): batch})
        forged = payload.Identity(GTIN, serial=serial, check=payload.check_of(b"", GTIN, serial))
        assert service.get(forged.path).status_code == 404
        assert service.verdict(forged.path) == "not_verified"


UNKNOWN_MEMBERS = {
    "p": make.product(),
    "b": make.batch(ranges=()),
    "l": card.LotCard(GTIN, "L2026"),
    "s": make.standing(State.FLAGGED),
    "x": make.standing(State.FLAGGED),
    "n": card.NoticesCard(),
}


@pytest.mark.parametrize("kind", list(UNKNOWN_MEMBERS))
def test_a_card_with_an_unknown_member_is_refused(kind: str) -> None:
    """Also inside: a member that a reader skips can hide what follows it."""
    body = msgspec.to_builtins(UNKNOWN_MEMBERS[kind], builtin_types=(bytes,))
    key = {"s": "s:product:1", "x": "x:7:5", "n": "n:"}.get(kind, f"{kind}:{GTIN}")
    decode_entry(key, 1, msgspec.msgpack.encode(body))
    with pytest.raises(ValueError, match="unknown"):
        decode_entry(key, 1, msgspec.msgpack.encode(body | {"z": b""}))
    for inner in ("standings", "enterprise"):
        if inner in body:
            nested = body[inner][0] if isinstance(body[inner], (list, tuple)) else body[inner]
            nested["z"] = b""
            with pytest.raises(ValueError, match="unknown"):
                decode_entry(key, 1, msgspec.msgpack.encode(body))


@pytest.mark.parametrize("field", ["5", redis_keys.COMPLETE])
def test_a_call_reads_one_long_value_and_not_five_hundred(
    registry: ScanAuthority, addresses: ServerAddresses, scan: Any, field: str
) -> None:
    """Each reading of 16 MB takes Redis 30 ms, in which it answers nobody."""
    registry.put({card.batch_key(7): make.batch()})
    bucket, _ = redis_keys.history(7, 5)
    scan.hset(bucket, mapping={"5": b"x", redis_keys.COMPLETE: b"1"} | {field: b"x" * 1_000_000})
    with closing(Redis.from_url(addresses.admin_redis)) as admin:
        admin.config_resetstat()
        reply = scan.fcall(library.ITEMS, 500, *[bucket] * 500, 1, 600, 0, *["5", "anna", "", ""] * 500)
        read = admin.info("commandstats")["cmdstat_hmget"]["calls"]
    assert [reply[0], *reply[5::5]] == [8] * 500
    assert read == 1
