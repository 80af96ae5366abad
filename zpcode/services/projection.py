"""From the `card` table into Redis: after every commit, again by the worker, and from nothing.

Nothing here decides; it copies. Redis may be emptied, frozen or replaced at any moment: an absent head
means that nothing in it is believed, and `catch_up` then writes everything anew under a new generation.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from zpcode.errors import Text, Unavailable
from zpcode.store import outbox
from zpcode.store.outbox import Card
from zpcode.store.scans import unscanned
from zpcode.store.session import Connection, Engine, transaction
from zpcode.wire import redis_keys
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD, batch_key

CHUNK = 500
TIMEOUT_SECONDS = 0.2

# Replace a card only by a newer one: a write that a frozen server carries out late undoes nothing.
_NEWER = """
local old = ARGV[2] == '' and redis.call('GET', KEYS[1]) or (ARGV[2] ~= '' and redis.call('HGET', KEYS[1], ARGV[2]))
if old and string.sub(old, 1, 8) >= string.sub(ARGV[1], 1, 8) then return 0 end
if ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
return 1
"""
# Move the head forward, never back, and only within the generation it belongs to.
_FORWARD = """
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
if tonumber(redis.call('HGET', KEYS[1], 'revision')) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[2])
return 1
"""
# Begin a generation, if the token of this rebuild is still there: an emptied Redis has lost it.
_BEGIN = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'revision', ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""


def connect(url: str) -> Redis:
    """A client for the projector: answers or fails within 0.2 s, and never retries by itself."""
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def catch_up(engine: Engine, redis: Redis) -> int:
    """Bring Redis to the table's newest revision; rebuild it where it is empty. Returns that revision.

    Raises Unavailable where either of the two does not answer, where another process is at it, and where
    Redis was emptied meanwhile; what is missing stays in the table, and the next call goes on from there.
    """
    try:
        with transaction(engine) as connection:
            outbox.lock_projector(connection)
            generation, revision = redis.hmget(redis_keys.HEAD, [GENERATION_FIELD, REVISION_FIELD])
            newest = outbox.head(connection)
            if generation is None or revision is None or not revision.isdigit() or int(revision) > newest:
                return _rebuild(connection, redis, newest)
            return _follow(connection, redis, generation, int(revision))
    except RedisError as error:
        raise Unavailable(
            Text(
                "缓存服务暂时无法访问，更改已保存，稍后自动同步",
                "Redis does not answer; the change is saved and follows by itself",
            )
        ) from error


def _follow(connection: Connection, redis: Redis, generation: bytes | str, revision: int) -> int:
    """Write what changed after `revision`, chunk by chunk, each announced when it is there."""
    while cards := outbox.since(connection, revision, CHUNK):
        # A batch that Redis has never heard of has codes that nobody can have scanned.
        unheard = [number for number in _batches(cards) if not redis.exists(redis_keys.place(batch_key(number))[0])]
        _write(connection, redis, cards, unscanned(connection, unheard))
        revision = cards[-1].revision
        _announce(redis, generation, cards)
    return revision


def _rebuild(connection: Connection, redis: Redis, newest: int) -> int:
    """Write everything under a new generation, which begins only if Redis was not emptied on the way."""
    _forget(redis)
    token = secrets.token_hex(8)
    redis.set(redis_keys.BUILD, token)
    redis.hset(redis_keys.STANDINGS, redis_keys.COMPLETE, token)
    drained = redis.xlen(redis_keys.SCANS) == 0  # else the database does not know of every scan yet
    for chunk in outbox.everything(connection):
        _write(connection, redis, chunk, unscanned(connection, _batches(chunk)) if drained else [])
    whole = redis.hget(redis_keys.STANDINGS, redis_keys.COMPLETE) == token.encode("ascii")
    if not whole or not redis.register_script(_BEGIN)(keys=[redis_keys.HEAD, redis_keys.BUILD], args=[token, newest]):
        raise Unavailable(
            Text("缓存服务刚被清空，稍后自动重建", "Redis was emptied just now; it is rebuilt by itself shortly")
        )
    return newest


def _batches(cards: Iterable[Card]) -> list[int]:
    return [int(found.key[2:]) for found in cards if found.key.startswith("b:")]


def _write(connection: Connection, redis: Redis, cards: Sequence[Card], complete: Iterable[int]) -> None:
    """Write cards, and mark those batches whose history is known to be empty."""
    _put(redis, cards)
    for number in {int(found.key.split(":")[1]) for found in cards if found.key.startswith("x:")}:
        _make_whole(connection, redis, number)
    pipeline = redis.pipeline(transaction=False)
    for number in complete:
        pipeline.set(redis_keys.history_complete(number), 1)
    pipeline.execute()


def _put(redis: Redis, cards: Iterable[Card]) -> None:
    newer = redis.register_script(_NEWER)
    pipeline = redis.pipeline(transaction=False)
    for found in cards:
        key, field = redis_keys.place(found.key)
        newer(keys=[key], args=[redis_keys.pack(found.revision, found.body), field or ""], client=pipeline)
    pipeline.execute()


def _make_whole(connection: Connection, redis: Redis, number: int) -> None:
    """See that the decisions about a batch's items are all there: without its mark the hash proves nothing."""
    key = redis_keys.exceptions(number)
    if redis.hexists(key, redis_keys.COMPLETE):
        return
    for chunk in outbox.items(connection, number):
        _put(redis, chunk)
    redis.hset(key, redis_keys.COMPLETE, 1)


def _announce(redis: Redis, generation: bytes | str, cards: Sequence[Card]) -> None:
    """Tell readers which cards changed, then that they did: log before head."""
    last = cards[-1].revision
    names = "\n".join(found.key for found in cards)
    redis.xadd(redis_keys.LOG, {"k": names}, id=f"{last}-*", maxlen=redis_keys.LOG_LENGTH, approximate=True)
    redis.register_script(_FORWARD)(keys=[redis_keys.HEAD], args=[generation, last])


def _forget(redis: Redis) -> None:
    """Take away what an unheaded projection left behind, but not the scans that wait to be drained."""
    for key in (redis_keys.HEAD, redis_keys.LOG, redis_keys.STANDINGS):  # one by one: a cluster keeps them apart
        redis.delete(key)
    for pattern in ("zp:{p:*", "zp:{b:*"):
        pipeline = redis.pipeline(transaction=False)
        for key in redis.scan_iter(match=pattern, count=1000):
            pipeline.unlink(key)
            if len(pipeline) >= CHUNK:
                pipeline.execute()
        pipeline.execute()
