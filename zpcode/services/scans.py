"""Drain scans from Redis into PostgreSQL, in bulk; each scan counts once.

The worker takes entries over from the inbox into a stream (`zpcode.services.inbox`), and stores the entries of the stream.
An entry is acknowledged and deleted after the commit of the transaction that stored it. If it is delivered again (after a
crash, or to a second worker), its id is already stored, so nothing is counted twice.

Nothing in an entry is trusted: the scan service is on the public network. An entry or a scan that cannot be stored is
dropped and counted, and holds up no other one.
"""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from zpcode.errors import Text, Unavailable
from zpcode.projection.scripts import is_damage
from zpcode.services import inbox
from zpcode.store import scans
from zpcode.store.database.session import Engine, transaction
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.permutation import SLOTS
from zpcode.wire.redis_keys import SCAN_GROUP, SCANS
from zpcode.wire.scan_event import EVENT_FIELD, SINCE_FIELD, ScanEvent, decode

MAX_ENTRIES: Final = 2000
"""The most entries read at once, which have at most `inbox.MAX_SCANS` scans and `inbox.MAX_BYTES`."""
ABANDONED_MS: Final = 60_000
TIMEOUT_SECONDS: Final = 5.0
"""The time limit for Redis: reading so many entries may take longer than a write of the projector."""
BUFFERED: Final = timedelta(hours=1)
"""For how long a scan may have waited in its process before it came to Redis. An earlier time is moved to this bound."""
CLOCKS_DIFFER: Final = timedelta(minutes=5)
"""How far the clock of a scan process may be ahead of that of Redis. A later time is moved to this bound."""
_TEXT_BYTES = 64
_logger = logging.getLogger(__name__)
_AWAY = Text("缓存服务暂时无法访问，扫码记录稍后入库", "Redis does not answer; scans are stored later")
Refuse = Callable[[str, int], object]
"""Gets one of `telemetry.worker_counters.REFUSALS` and a number of entries or scans."""
Entry = tuple[str, Mapping[bytes, bytes]]


def ensure_partitions(engine: Engine, day: date) -> None:
    """Create the partitions of this month and the next if they do not exist. Raises Unavailable."""
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    for month in (day, following):
        with transaction(engine) as connection:
            scans.ensure_partition(connection, month)


def drain(
    engine: Engine,
    redis: Redis,
    *,
    consumer: str,
    limit: int = MAX_ENTRIES,
    refuse: Refuse = lambda *_: None,
    day: date | None = None,
) -> int:
    """Move the scans of up to `limit` entries into PostgreSQL; return the number of entries that were finished or dropped.

    `consumer` names this worker. Its own unfinished entries come first, then entries that another worker left unfinished
    for a minute, then those that a worker has taken over, then the inbox. `refuse` is told what was dropped. The partition
    of the month of `day` is made first if it is missing: a database that was just restored may lack it. Raises Unavailable;
    nothing is lost then.
    """
    dropped: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    try:
        entries = _read_entries(redis, consumer, limit, dropped)
        if entries:
            rows = [row for entry, fields in entries for row in rows_of(entry, fields, refused)]
            refused["scan_item"] += _store(engine, rows, day)
            _done(redis, [entry for entry, _ in entries])
    except (RedisError, Unavailable) as error:
        refused.clear()  # these entries come again
        raise (Unavailable(_AWAY) if isinstance(error, RedisError) else error) from error
    finally:
        _report(dropped + refused, refuse)
    return len(entries) + dropped.total()


def _report(refused: Counter[str], refuse: Refuse) -> None:
    """One line and one count for each reason, however many entries there were."""
    for reason, number in (+refused).items():
        _logger.warning("scans refused", extra={"reason": reason, "number": number})
        refuse(reason, number)


def _store(engine: Engine, rows: Sequence[dict[str, Any]], day: date | None) -> int:
    """Store scans and count those of items; returns the number of those that are no item's: they are in no history."""
    with transaction(engine) as connection:
        if day is not None and not scans.has_partition(connection, day):
            scans.ensure_partition(connection, day)
        fresh = scans.add(connection, [_columns(row) for row in rows])
        claimed = {row["entry"] for row in rows if row["counted"]}
        of_items = [row for row in fresh if row["entry"] in claimed]
        items = scans.quantities(connection, {row["batch"] for row in of_items})
        counted = [row for row in of_items if row["index"] < items.get(row["batch"], 0)]
        scans.count(connection, histories(counted))
        return len(of_items) - len(counted)


def rows_of(entry: str, fields: Mapping[bytes, bytes], refused: Counter[str]) -> list[dict[str, Any]]:
    """The scans of a stream entry as columns of `scan` and `counted`; `refused` counts what was dropped or moved in time.

    The name of a scan is the id of its entry and its position in the entry, so a second delivery is recognised. For the
    same reason its row depends on the entry alone, not on the time of the delivery.
    """
    arrived = int(entry.partition("-")[0])
    try:
        events = decode(fields[EVENT_FIELD])
        since = min(arrived, int(fields.get(SINCE_FIELD, arrived)))
    except (KeyError, ValueError):
        refused["entry_unreadable"] += 1
        return []
    earliest, latest = since - _ms(BUFFERED), arrived + _ms(CLOCKS_DIFFER)
    rows = []
    for position, event in enumerate(events):
        at_ms = min(max(event.at_ms, earliest), latest)
        refused["scan_time"] += at_ms != event.at_ms
        row = _row(f"{entry}.{position}", event, at_ms)
        refused["scan_bounds"] += row is None
        rows += [] if row is None else [row]
    return rows


def _ms(time: timedelta) -> int:
    return time // timedelta(milliseconds=1)


def _row(name: str, event: ScanEvent, at_ms: int) -> dict[str, Any] | None:
    """One scan as columns. At most a /24 (IPv4) or /48 (IPv6) of an address is kept, whatever the event contains."""
    if not _bounded(event):
        return None
    try:
        at = datetime.fromtimestamp(at_ms / 1000, UTC)
        network = _cut(event.network)
    except (ValueError, OverflowError, OSError):
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
    texts = (event.gtin, event.lot, event.verdict, event.city, event.network, event.language, event.channel)
    return (
        all(len(text) <= _TEXT_BYTES and len(text.encode("utf-8")) <= _TEXT_BYTES for text in texts)
        and all(text.isprintable() for text in texts)
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


def _read_entries(redis: Redis, consumer: str, limit: int, dropped: Counter[str]) -> list[Entry]:
    """Bound the inbox and read entries. What stands in the way is mended only when it does, because a full Redis refuses most
    commands: the consumer group is missing, or a key is not as the authority made it.
    """
    try:
        return _take_all(redis, consumer, limit, dropped)
    except ResponseError as error:
        if is_damage(error):
            inbox.discard_damage(redis)
        elif not str(error).startswith("NOGROUP"):
            raise
    _prepare(redis)
    return _take_all(redis, consumer, limit, dropped)


def _prepare(redis: Redis) -> None:
    """Create the consumer group: at the first start, and after a flush."""
    try:
        redis.xgroup_create(SCANS, SCAN_GROUP, id="0", mkstream=True)
    except ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


def _take_all(redis: Redis, consumer: str, limit: int, dropped: Counter[str]) -> list[Entry]:
    """Entries of the stream; only if there are none, entries of the inbox. So the inbox alone grows during an outage."""
    dropped["inbox_length"] += inbox.bound(redis)
    if entries := _take(redis, consumer, limit):
        return entries
    collected = inbox.collect(redis, limit, consumer)
    dropped.update(entry_size=collected.large, entry_unreadable=collected.unreadable)
    return _take(redis, consumer, limit) if collected.taken else []


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
    """Acknowledge and delete entries, both or neither."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.xack(SCANS, SCAN_GROUP, *entries)
    pipeline.xdel(SCANS, *entries)
    pipeline.execute()
