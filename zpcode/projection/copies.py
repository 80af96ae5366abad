"""The copies of cards in Redis by card key: read many, list all, replace one if it has not changed meanwhile.

A card key here may also end in `_`: the mark that the hash of all standings (`s:_`) or of the items of one batch
(`x:NUMBER:_`) is complete. Each command goes to the shard with the key. All functions raise RedisError if a shard does
not reply, or no shard has the key.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis import Redis
from redis.exceptions import ConnectionError as NoAnswer
from redis.exceptions import ResponseError

from zpcode.projection.client import Layout, ShardClient
from zpcode.wire import redis_keys

Copy = bytes | None
"""A value in Redis: revision and body; empty if there is none, None for a value of another type."""

_AT_ONCE: Final = 200
_FIELDS: Final = 500

# Replace a wrong value by the right one (empty: delete it), unless the value has changed since it was read.
_REPLACE: Final = """
local wanted = ARGV[2] == '' and 'string' or 'hash'
local kind = redis.call('TYPE', KEYS[1]).ok
local now = ''
if kind == wanted then
  now = ARGV[2] == '' and redis.call('GET', KEYS[1]) or (ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[2])) or ''
elseif kind ~= 'none' then
  if ARGV[3] ~= 'unreadable' then return 0 end
  redis.call('DEL', KEYS[1])
end
if ARGV[3] ~= 'unreadable' and ARGV[3] ~= (now == '' and '' or redis.sha1hex(now)) then return 0 end
if ARGV[1] == '' then
  if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('HDEL', KEYS[1], ARGV[2]) end
elseif ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
return 1
"""


def shard_of(layout: Layout, key: str) -> ShardClient:
    """The shard of a card or a mark."""
    shard = layout.of(redis_keys.location(key)[0])
    if shard is None:
        raise NoAnswer("some slots of the cluster have no primary")
    return shard


def read(layout: Layout, keys: Sequence[str]) -> list[Copy]:
    """The copies under these keys, in the same order. A round trip has at most 200 commands of 500 fields each."""
    parts: defaultdict[int, list[str]] = defaultdict(list)
    servers: dict[int, Redis] = {}
    for key in keys:
        shard = shard_of(layout, key)
        parts[id(shard)].append(key)
        servers[id(shard)] = shard.redis
    by_key: dict[str, Copy] = {}
    for name, part in parts.items():
        by_key |= _read(servers[name], part)
    return [by_key[key] for key in keys]


def _read(redis: Redis, keys: Sequence[str]) -> dict[str, Copy]:
    fields: defaultdict[str, list[str]] = defaultdict(list)
    reads: list[tuple[str, list[str]]] = []
    for key in keys:
        where, name = redis_keys.location(key)
        if name is None:
            reads.append((where, []))
        else:
            fields[where].append(name)
    reads += [
        (where, names[at : at + _FIELDS]) for where, names in fields.items() for at in range(0, len(names), _FIELDS)
    ]
    by_location: dict[tuple[str, str | None], Copy] = {}
    for (where, names), reply in zip(reads, _replies(redis, reads), strict=True):
        if not names:
            by_location[where, None] = _copy(reply)
            continue
        values = reply if isinstance(reply, list) else [reply] * len(names)
        by_location |= {(where, name): _copy(value) for name, value in zip(names, values, strict=True)}
    return {key: by_location[redis_keys.location(key)] for key in keys}


def _replies(redis: Redis, reads: Sequence[tuple[str, list[str]]]) -> list[Any]:
    """The reply to each read: of a key, or of fields (not empty) of a hash."""
    replies: list[Any] = []
    for start in range(0, len(reads), _AT_ONCE):
        pipeline = redis.pipeline(transaction=False)
        for where, names in reads[start : start + _AT_ONCE]:
            if names:
                pipeline.hmget(where, names)
            else:
                pipeline.get(where)
        replies += pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, Exception) and not (isinstance(reply, ResponseError) and "WRONGTYPE" in str(reply)):
            raise reply
    return replies


def _copy(reply: Any) -> Copy:
    if isinstance(reply, Exception):
        return None
    return b"" if reply is None else bytes(reply)


def replace(layout: Layout, key: str, value: bytes, expected: Copy) -> bool:
    """Replace the copy `expected` by a value (empty: delete it); return False if the copy is now another one."""
    redis = shard_of(layout, key).redis
    where, name = redis_keys.location(key)
    return bool(redis.register_script(_REPLACE)(keys=[where], args=[value, name or "", _digest(expected)]))


def _digest(copy: Copy) -> str:
    if copy is None:
        return "unreadable"
    return hashlib.sha1(copy, usedforsecurity=False).hexdigest() if copy else ""


_CARD = re.compile(rb"zp:\{([pb]:[^}]+|n:)\}(?::(l:.+|x))?", re.DOTALL)


def keys(layout: Layout) -> Iterator[str]:
    """The card keys of all copies in Redis. SCAN may return a key twice."""
    for shard in layout.shards:
        for pattern in ("zp:{[pbn]:*}", "zp:{p:*}:l:*", "zp:{b:*}:x"):
            for redis_key in shard.redis.scan_iter(match=pattern, count=1000):
                yield from _card_keys(shard.redis, redis_key)
    standings = layout.of(redis_keys.STANDINGS)
    for name in _names(standings.redis, redis_keys.STANDINGS) if standings is not None else ():
        yield f"s:{name}"


def _card_keys(redis: Redis, redis_key: bytes) -> Iterator[str]:
    match = _CARD.fullmatch(redis_key)
    if match is None:
        return
    base, rest = match[1].decode("utf-8", "replace"), (match[2] or b"").decode("utf-8", "replace")
    if rest == "x":
        for name in _names(redis, redis_key.decode("utf-8", "replace")):
            yield f"x:{base[2:]}:{name}"
    elif rest:
        yield f"l:{base[2:]}:{rest[2:]}"
    else:
        yield base


def _names(redis: Redis, where: str) -> Iterator[str]:
    if redis.type(where) != b"hash":
        return
    for name, _ in redis.hscan_iter(where, count=500):
        if name != redis_keys.COMPLETE.encode():
            yield name.decode("utf-8", "replace")
