"""Check scans: stored scans and histories, histories in Redis, partitions, and the stream."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from zpcode.errors import Text
from zpcode.projection import client, copies
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant
from zpcode.services.inbox import waiting_since
from zpcode.services.scans import ABANDONED_MS, ensure_partitions
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity
from zpcode.store.monitoring.integrity import ItemHistory
from zpcode.store.scans import quantities
from zpcode.wire import redis_keys
from zpcode.wire.calendar import seconds, today
from zpcode.wire.card import History, batch_key
from zpcode.wire.functions.histories import pack as pack_history
from zpcode.wire.functions.histories import unpack as unpack_history
from zpcode.wire.payload import MAX_BATCH

COUNTS: Final = Invariant(
    "scan-counts",
    Text("历史记录所计的次数不超过实际入库的扫码", "histories count no more scans than are stored"),
    Text(
        "有扫码被重复计数，或扫码记录被删除：请查看该件产品的 scan 行，从备份恢复 item_history",
        "a scan was counted twice, or scans were deleted: inspect the item's rows in scan, and restore item_history from a"
        " backup",
    ),
)
HISTORIES: Final = Invariant(
    "histories",
    Text("缓存中的扫码次数不少于数据库中的次数", "histories in Redis count at least as many scans as the database"),
    Text(
        "缓存可能由旧备份恢复，会误报“首次扫码”：zpcode fsck --deep --repair",
        "Redis may have been restored from an old backup and would wrongly report a first scan: zpcode fsck --deep --repair",
    ),
)
PARTITIONS: Final = Invariant(
    "partitions",
    Text(
        "本月与下月的扫码分区都已建立，默认分区中没有扫码",
        "the partitions of this month and the next exist, and the default partition has no scans",
    ),
    Text(
        "zpcode fsck --repair 建立缺少的分区；默认分区中的扫码须移入其月份的分区",
        "zpcode fsck --repair creates missing partitions; move scans of the default partition to that of their month",
    ),
)
STREAM: Final = Invariant(
    "stream",
    Text("扫码流正在由后台进程收取，没有滞留的条目", "the scan stream is being drained, and no entry is stuck"),
    Text(
        "让后台进程运行：zpcode worker；并查看其日志中 drain 的错误",
        "let a worker run: zpcode worker; look for errors of drain in its log",
    ),
)
_SAMPLE: Final = 10_000
_SLICE: Final = 500
_STUCK_MS: Final = 10 * ABANDONED_MS

# Replace an entry (empty: no entry), unless it has changed since it was read: a newer count stays.
_REPLACE: Final = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 1
"""
_BUCKET: Final = re.compile(rb"zp:\{b:([1-9][0-9]{0,8})\}:h:(0|[1-9][0-9]{0,8})")
_FIELD: Final = re.compile(rb"_|0|[1-9][0-9]?|1[01][0-9]|12[0-7]")
_SHOWN_BYTES: Final = 60


class _Wrong(NamedTuple):
    """A history whose entry in Redis is wrong, and that entry (empty: no entry)."""

    history: ItemHistory
    entry: bytes


def counts(context: CheckContext, outcome: CheckResult) -> None:
    """Compare the totals; with `deep`, each item with its first and last time."""
    with integrity.snapshot(context.engine) as connection:
        counted, scans = integrity.totals(connection)
        outcome.examined = scans
        if counted > scans:
            outcome.find(
                "total",
                f"历史共计 {counted} 次，单品扫码只有 {scans} 条",
                f"histories count {counted} scans in total, but {scans} scans of items are stored",
            )
        for batch, item in integrity.histories_astray(connection, SHOWN + 1):
            outcome.find("astray", "该批次中没有这件产品", "there is no such item", where=f"{batch}:{item}")
        for tally in integrity.overcounted(connection, SHOWN + 1) if context.deep else ():
            outcome.find(
                "item",
                f"计 {tally.counted} 次，扫码 {tally.scans} 条，或首末时间不符",
                f"counts {tally.counted}, but {tally.scans} scans are stored, or its first or last time differs",
                where=f"{tally.batch}:{tally.item}",
            )


def histories(context: CheckContext, outcome: CheckResult) -> None:
    """Check that Redis counts at least as many scans as the database. A sample of 10 000 items; with `deep`, all items.

    With `deep`, every entry in Redis is read too: the scan service may write any bytes there.
    """
    if context.deep:
        _read_buckets(context, outcome)
    with integrity.snapshot(context.engine) as connection:
        for chunk in _histories(connection, context):
            _compare(context, outcome, chunk)
            outcome.examined += len(chunk)
            if outcome.examined >= _SAMPLE and not context.deep:
                break


def _histories(connection: Connection, context: CheckContext) -> Iterator[list[ItemHistory]]:
    """All histories in chunks, beginning at a batch that differs each day and wrapping around."""
    day = hashlib.sha256(f"{context.now:%Y-%m-%d}".encode()).digest()[0] / 256
    start = int(integrity.last_number(connection) * day)
    batch, index = start, -1
    while chunk := integrity.histories_after(connection, batch, index, _SLICE):
        yield chunk
        batch, index = chunk[-1].batch, chunk[-1].item
    batch, index = 0, -1
    while chunk := integrity.histories_after(connection, batch, index, _SLICE):
        yield [one for one in chunk if one.batch < start]
        batch, index = chunk[-1].batch, chunk[-1].item
        if batch >= start:
            return


def _read_buckets(context: CheckContext, outcome: CheckResult) -> None:
    """Read all buckets; with `repair`, delete entries that are no histories, and buckets that no item of a batch has.

    The patterns of the ACL let the scan service write keys of many more forms. Entries come back from the database.
    """
    for shard in client.layout(context.redis).shards:
        listed = shard.redis.scan_iter(match="zp:{b:*}:h:*", count=1000)
        while keys := list(islice(listed, _SLICE)):
            # The batches are read after the keys: a batch has no bucket before its record is committed.
            numbers = {number for key in keys if 0 < (number := _place(key)[0]) <= MAX_BATCH}
            with integrity.snapshot(context.engine) as connection:
                items = quantities(connection, numbers)
            for key in keys:
                _read_bucket(shard.redis, key, items, context, outcome)


def _read_bucket(
    redis: Redis, key: bytes, items: Mapping[int, int], context: CheckContext, outcome: CheckResult
) -> None:
    number, bucket = _place(key)
    rest = items.get(number, 0) - bucket * redis_keys.BUCKET
    if rest <= 0 or redis.type(key) != b"hash":
        outcome.find("unreadable", "此处不是历史记录", "the value in Redis is not a history", where=_shown(key))
        if context.repair:
            redis.unlink(key)
            outcome.add_repair(f"已删除 {_shown(key)}", f"deleted {_shown(key)}")
        return
    for field, entry in redis.hscan_iter(key, count=200):
        if reason := _unreadable(field, entry, rest):
            zh, en = f"此处不是历史记录：{reason}", f"the entry is not a history: {reason}"
            outcome.find("unreadable", zh, en, where=f"{_shown(key)} {_shown(field)}")
            if context.repair:
                _replace(redis, key, field, entry, b"")
                outcome.add_repair(f"已删除 {_shown(key)} {_shown(field)}", f"deleted {_shown(key)} {_shown(field)}")


def _place(key: bytes) -> tuple[int, int]:
    """The batch and the bucket of a key; batch 0, which does not exist, if it is no key of a bucket."""
    match = _BUCKET.fullmatch(key)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _unreadable(field: bytes, entry: bytes, items: int) -> str:
    """Why an entry is not a history; empty if it is one, or the mark of completeness. `items` are those from its bucket on."""
    if _FIELD.fullmatch(field) is None:
        return "its field is not a number below 128"
    if field.isdigit() and int(field) >= items:
        return "the batch has no such item"
    try:
        if field != redis_keys.COMPLETE.encode("ascii"):
            unpack_history(entry)
    except ValueError as error:
        return str(error)[:200]
    return ""


def _shown(name: bytes) -> str:
    """A key or field of Redis as text of bounded length."""
    return ascii(name[:_SHOWN_BYTES])[2:-1]


def _replace(redis: Redis, key: Any, field: Any, entry: bytes, new: bytes) -> bool:
    return bool(redis.register_script(_REPLACE)(keys=[key], args=[field, entry, new]))


def _compare(context: CheckContext, outcome: CheckResult, chunk: Sequence[ItemHistory]) -> None:
    layout = client.layout(context.redis)
    parts: defaultdict[int, list[ItemHistory]] = defaultdict(list)
    servers: dict[int, Redis] = {}
    for one in chunk:
        shard = copies.shard_of(layout, batch_key(one.batch))
        parts[id(shard)].append(one)
        servers[id(shard)] = shard.redis
    for name, part in parts.items():
        wrong = _behind(servers[name], outcome, part)
        if context.repair and wrong:
            _raise(servers[name], outcome, wrong)


def _behind(redis: Redis, outcome: CheckResult, part: Sequence[ItemHistory]) -> list[_Wrong]:
    """The histories that are complete on a server but count fewer scans than the database."""
    pipeline = redis.pipeline(transaction=False)
    for one in part:
        where, name = redis_keys.history(one.batch, one.item)
        pipeline.hmget(where, [name, redis_keys.COMPLETE])
        pipeline.exists(redis_keys.history_complete(one.batch))
    replies = pipeline.execute(raise_on_error=False)
    wrong: list[_Wrong] = []
    for one, reply, complete in zip(part, replies[::2], replies[1::2], strict=True):
        where = f"{one.batch}:{one.item}"
        if isinstance(reply, Exception):
            outcome.find("unreadable", "缓存中此处不是历史记录", "the value in Redis is not a history", where=where)
        elif (scans := _scans(reply[0])) is None:
            outcome.find("unreadable", "缓存中此处不是历史记录", "the value in Redis is not a history", where=where)
            wrong.append(_Wrong(one, reply[0]))
        elif (reply[1] is not None or complete) and scans < one.scans:
            zh, en = f"缓存计 {scans} 次，数据库 {one.scans} 次", f"Redis counts {scans}, the database {one.scans}"
            outcome.find("behind", zh, en, where=where)
            wrong.append(_Wrong(one, reply[0] or b""))
    return wrong


def _scans(value: bytes | None) -> int | None:
    """The number of scans of an entry; None if it is not a history."""
    try:
        return 0 if value is None else unpack_history(value).scans
    except ValueError:
        return None


def _raise(redis: Redis, outcome: CheckResult, wrong: Sequence[_Wrong]) -> None:
    for one, entry in wrong:
        where, name = redis_keys.history(one.batch, one.item)
        right = pack_history(History(one.scans, seconds(one.first_at), one.first_city))
        if _replace(redis, where, name, entry, right):
            outcome.add_repair(
                f"已补齐 {one.batch}:{one.item} 的历史记录", f"raised the history of {one.batch}:{one.item}"
            )


def partitions(context: CheckContext, outcome: CheckResult) -> None:
    """Check that the worker has created the partitions. Scans in the default partition prevent creating their month's."""
    day = today(context.now)
    required = [_name(day), _name(day.replace(day=1) + timedelta(days=32))]
    with integrity.snapshot(context.engine) as connection:
        present = integrity.partitions(connection)
        noted = integrity.noted_partitions(connection)
        outcome.examined = len(present)
        unplaced = integrity.unplaced_scans(connection)
    missing = [name for name in required if name not in present]
    for name in missing:
        outcome.find("missing", "缺少分区", "the partition is missing", where=name)
    for name in sorted(name for name, stands in noted.items() if stands and name not in {*present, *missing}):
        outcome.find(
            "vanished",
            "分区缺失，且没有删除记录：有人绕过服务删除了扫码记录",
            "the partition is gone and was not dropped by the service: somebody has deleted scans",
            where=name,
        )
    for month, count in unplaced:
        outcome.find("unplaced", f"{count} 条扫码没有分区", f"{count} scans have no partition", where=month)
    if context.repair and missing and not unplaced:
        ensure_partitions(context.engine, day)
        for name in missing:
            outcome.add_repair(f"已建立分区 {name}", f"created partition {name}")


def _name(day: date) -> str:
    return f"scan_{day:%Y_%m}"


def stream(context: CheckContext, outcome: CheckResult) -> None:
    """Check that the inbox is emptied, and that no entry was read by a worker long ago without being finished."""
    redis = client.holder(context.redis, redis_keys.SCANS)
    _inbox(redis, context, outcome)
    try:
        outcome.examined += int(redis.xlen(redis_keys.SCANS))
        if not redis.exists(redis_keys.SCANS):
            return
        pending: Any = redis.xpending_range(
            redis_keys.SCANS, redis_keys.SCAN_GROUP, "-", "+", SHOWN + 1, idle=_STUCK_MS
        )
    except ResponseError as error:
        if "WRONGTYPE" in str(error):
            outcome.find("unreadable", "此处不是扫码流", "the value is not a stream", where=redis_keys.SCANS)
        elif outcome.examined:
            zh, en = "没有消费组，后台进程从未收取过", "it has no consumer group: no worker has ever drained it"
            outcome.find("undrained", zh, en, where=redis_keys.SCANS)
        return
    for entry in pending:
        minutes = entry["time_since_delivered"] // 60_000
        outcome.find(
            "stuck",
            f"{entry['consumer'].decode()} 取走已 {minutes} 分钟",
            f"{entry['consumer'].decode()} read it {minutes} minutes ago",
            where=entry["message_id"].decode(),
        )


def _inbox(redis: Redis, context: CheckContext, outcome: CheckResult) -> None:
    """Check that a worker has emptied the inbox in the last ten minutes."""
    try:
        waiting, since = waiting_since(redis)
    except ResponseError:
        outcome.find("unreadable", "此处不是待收取的扫码列表", "the value is not a list", where=redis_keys.INBOX)
        return
    outcome.examined = waiting
    if waiting and (since is None or context.now - since > timedelta(milliseconds=_STUCK_MS)):
        zh, en = (
            f"{waiting} 条尚未收取，超过十分钟没有清空",
            f"{waiting} entries wait, and it was not empty for ten minutes",
        )
        outcome.find("undrained", zh, en, where=redis_keys.INBOX)
