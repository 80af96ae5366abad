"""Drain scans from the Redis stream into PostgreSQL, in bulk; each scan counts once.

An entry is acknowledged and deleted after the commit of the transaction that stored it. If it is delivered again (after a
crash, or to a second worker), its id is already stored, so nothing is counted twice.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from zpcode.errors import Text, Unavailable
from zpcode.store import scans
from zpcode.store.database.session import Engine, transaction
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.permutation import SLOTS
from zpcode.wire.redis_keys import DRAINED, SCAN_GROUP, SCANS
from zpcode.wire.scan_event import EVENT_FIELD, ScanEvent, decode

MAX_ENTRIES: Final = 100
"""The most entries read at once. Each entry has the scans of one round trip, 1 to `scan_event.AT_ONCE`."""
ABANDONED_MS: Final = 60_000
TIMEOUT_SECONDS: Final = 5.0
"""The time limit for Redis: reading a hundred entries may take longer than a write of the projector."""
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(days=1)
_TEXT_BYTES = 64
_logger = logging.getLogger(__name__)

# Acknowledge and delete entries, and count them: missing entries that are not counted were lost to the length limit.
# A Redis whose memory is full deletes entries but cannot count them; pcall ignores this error.
_DONE: Final = """
local done = redis.call('XACK', KEYS[1], unpack(ARGV))
redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
redis.pcall('INCRBY', KEYS[2], done)
"""
Entry = tuple[str, Mapping[bytes, bytes]]


def ensure_partitions(engine: Engine, day: date) -> None:
    """Create the partitions of this month and the next if they do not exist. Raises Unavailable."""
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    for month in (day, following):
        with transaction(engine) as connection:
            scans.ensure_partition(connection, month)


def drain(engine: Engine, redis: Redis, *, consumer: str, now: datetime, limit: int = MAX_ENTRIES) -> int:
    """Move the scans of up to `limit` entries from the stream into PostgreSQL; return the number of finished entries.

    Unreadable scans are logged, counted and dropped, so that they do not block others. `consumer` names this worker. Its
    own unfinished entries come first, then entries that another worker left unfinished for a minute, then new ones.
    Raises Unavailable; nothing is lost then.
    """
    try:
        entries = _read_entries(redis, consumer, limit)
        if not entries:
            return 0
        parsed = [row for entry, fields in entries for row in rows_of(entry, fields, now)]
        rows = [row for row in parsed if row is not None]
        if len(rows) < len(parsed):
            _logger.warning("unreadable scans dropped", extra={"dropped": len(parsed) - len(rows)})
        with transaction(engine) as connection:
            fresh = scans.add(connection, [_columns(row) for row in rows])
            counted = {row["entry"] for row in rows if row["counted"]}
            scans.count(connection, histories([row for row in fresh if row["entry"] in counted]))
        _done(redis, [entry for entry, _ in entries])
    except RedisError as error:
        raise Unavailable(
            Text("缓存服务暂时无法访问，扫码记录稍后入库", "Redis does not answer; scans are stored later")
        ) from error
    return len(entries)


def rows_of(entry: str, fields: Mapping[bytes, bytes], now: datetime) -> list[dict[str, Any] | None]:
    """The scans of a stream entry as columns of `scan` and `counted`; None for each unreadable scan.

    The name of a scan is the id of its entry and its position in the entry, so a second delivery is recognised.
    """
    try:
        events = decode(fields[EVENT_FIELD])
    except (KeyError, msgspec.MsgspecError):
        return [None]
    return [_row(f"{entry}.{position}", event, now) for position, event in enumerate(events)]


def _row(name: str, event: ScanEvent, now: datetime) -> dict[str, Any] | None:
    """One scan as columns. At most a /24 (IPv4) or /48 (IPv6) of an address is kept, whatever the event contains."""
    try:
        at = datetime.fromtimestamp(event.at_ms / 1000, UTC)
        network = _cut(event.network)
    except (ValueError, OverflowError, OSError):
        return None
    if not _EARLIEST <= at <= now + _CLOCKS_DIFFER or not _bounded(event):
        return None
    return {
        "at": at,
        "entry": name,
        "gtin": event.gtin,
        "lot": event.lot,
        "batch": event.batch,
        "index": event.index,
        "verdict": event.verdict,
        "city": event.city,
        "network": network,
        "visitor": event.visitor or None,
        "language": event.language,
        "channel": event.channel,
        "counted": event.counted and event.batch is not None and event.index is not None,
    }


def histories(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The histories of items from their scans: the number, the first time and city, the last time."""
    summed: dict[tuple[int, int], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["at"]):
        history = summed.setdefault(
            (row["batch"], row["index"]),
            {
                "batch": row["batch"],
                "index": row["index"],
                "scans": 0,
                "first_at": row["at"],
                "first_city": row["city"],
                "last_at": row["at"],
            },
        )
        history["scans"] += 1
        history["last_at"] = row["at"]
    return list(summed.values())


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "counted"}


def _bounded(event: ScanEvent) -> bool:
    """Whether every field fits its column; otherwise the statement for the whole chunk would fail."""
    texts = (event.gtin, event.lot, event.verdict, event.city, event.language, event.channel)
    return (
        all(len(text.encode("utf-8")) <= _TEXT_BYTES and "\0" not in text for text in texts)
        and len(event.gtin) <= 14
        and len(event.visitor) <= _TEXT_BYTES
        and (event.batch is None or 0 <= event.batch <= MAX_BATCH)
        and (event.index is None or 0 <= event.index < SLOTS)
    )


def _cut(network: str) -> str | None:
    if not network:
        return None
    parsed = ipaddress.ip_network(network, strict=False)
    longest = 24 if parsed.version == 4 else 48
    return str(parsed if parsed.prefixlen <= longest else parsed.supernet(new_prefix=longest))


def _read_entries(redis: Redis, consumer: str, limit: int) -> list[Entry]:
    """Read entries. The consumer group is created only if it is missing, because a full Redis refuses the command."""
    try:
        return _take(redis, consumer, limit)
    except ResponseError as error:
        if not str(error).startswith("NOGROUP"):
            raise
    _prepare(redis)
    return _take(redis, consumer, limit)


def _prepare(redis: Redis) -> None:
    """Create the consumer group: at the first start, and after a flush."""
    try:
        redis.xgroup_create(SCANS, SCAN_GROUP, id="0", mkstream=True)
        redis.set(DRAINED, 0, nx=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def _take(redis: Redis, consumer: str, limit: int) -> list[Entry]:
    for start in ("0", ">"):
        if entries := _entries(redis.xreadgroup(SCAN_GROUP, consumer, {SCANS: start}, count=limit)):
            return entries
        if start == "0":
            _, abandoned, _ = redis.xautoclaim(SCANS, SCAN_GROUP, consumer, ABANDONED_MS, "0-0", count=limit)
            if abandoned:
                return [(entry.decode("ascii"), fields or {}) for entry, fields in abandoned]
    return []


def _entries(reply: Any) -> list[Entry]:
    """The entries of one stream in an XREADGROUP reply; a deleted entry has no fields."""
    return [(entry.decode("ascii"), fields or {}) for _, delivered in reply for entry, fields in delivered]


def _done(redis: Redis, entries: Sequence[str]) -> None:
    redis.eval(_DONE, 2, SCANS, DRAINED, SCAN_GROUP, *entries)
