"""The function library of the scan service on each server of Redis, and whether a server evicts keys.

Servers that run different versions of the program stand beside each other during an upgrade. So a version loads its own
library, keeps that of the version before, and removes only what is older. A replica gets libraries from its primary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from zpcode.errors import Text, Unavailable
from zpcode.projection.client import ShardClient
from zpcode.wire.card import EVICTING_FIELD
from zpcode.wire.functions.library import LIBRARY, PATTERN, SOURCE, VERSION, version_of

_NOT_ALLOWED = Text(
    "缓存服务的用户 authority 没有加载函数的权限，请按 deploy/valkey-users.acl 更新用户",
    "the Redis user of the authority may not load functions: update the users from deploy/valkey-users.acl",
)

# Only in an existing head: one that only had this field would be taken for a head.
_NOTE: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then redis.pcall('HSET', KEYS[1], 'evicting', ARGV[1]) end
return 1
"""


class ServerState(NamedTuple):
    """The libraries of a server, whether it evicts keys (`1` or `0`), and the same as its head has it (empty: no head)."""

    libraries: frozenset[str] = frozenset()
    evicting: str = "1"
    noted: str = ""


def state(shard: ShardClient) -> ServerState:
    """The state of a shard's server. Raises RedisError."""
    pipeline = shard.redis.pipeline(transaction=False)
    pipeline.function_list(library=PATTERN)
    pipeline.info("memory")
    pipeline.info("stats")
    pipeline.hget(shard.feed.head, EVICTING_FIELD)
    *replies, noted = pipeline.execute(raise_on_error=False)
    for reply in replies:
        if isinstance(reply, ResponseError):
            raise reply
    listed, memory, stats = replies
    head = noted.decode("ascii", "replace") if isinstance(noted, bytes) else ""  # an error: the head is no hash
    return ServerState(names(listed), "1" if evicts(memory, stats) else "0", head)


def names(reply: Any) -> frozenset[str]:
    """The libraries in a reply to FUNCTION LIST: one map for each, or in RESP2 one list of names and values."""
    maps = (one if isinstance(one, dict) else dict(zip(one[::2], one[1::2], strict=True)) for one in reply)
    return frozenset(one[b"library_name"].decode("ascii", "replace") for one in maps)


def provide(redis: Redis, loaded: Iterable[str]) -> None:
    """Load this version's library if it is not among those that are `loaded`, and remove those of old versions.

    Raises Unavailable if the user may not load functions, and RedisError.
    """
    try:
        if LIBRARY not in loaded:
            _load(redis)
        for name in loaded:
            version = version_of(name)
            if version is not None and version < VERSION - 1:
                _delete(redis, name)
    except NoPermissionError as error:
        raise Unavailable(_NOT_ALLOWED) from error


def _load(redis: Redis) -> None:
    try:
        redis.function_load(SOURCE)
    except ResponseError as error:
        if "already exists" not in str(error):  # another process has loaded it meanwhile
            raise


def _delete(redis: Redis, name: str) -> None:
    try:
        redis.function_delete(name)
    except ResponseError as error:
        if "not found" not in str(error).lower():
            raise


def note(shard: ShardClient, server: ServerState) -> None:
    """Note in the shard's head whether the server evicts keys, where the head says otherwise. Raises RedisError."""
    if server.noted != server.evicting:
        shard.redis.register_script(_NOTE)(keys=[shard.feed.head], args=[server.evicting])


def evicts(memory: Any, stats: Any) -> bool:
    """Whether a server drops keys when memory is short, or has dropped some, by two sections of INFO."""
    return bool(stats.get("evicted_keys", 1)) or str(memory.get("maxmemory_policy", "allkeys")).startswith("allkeys")
