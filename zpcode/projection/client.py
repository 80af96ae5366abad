"""The connection of the authority to Redis, a single server or a cluster: its shards, and the shard of each key.

All callers work on shards: a single server is one shard, a cluster has one for each primary. So the same code writes
both, and a failed shard does not prevent writing the others.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as NoAnswer
from redis.exceptions import RedisError
from redis.retry import Retry

from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_cluster, redis_keys
from zpcode.wire.redis_cluster import Node
from zpcode.wire.redis_keys import Feed

TIMEOUT_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class ShardClient:
    """One server with its part of the keys. `slots` names that part as text; empty for a single server."""

    redis: Redis
    feed: Feed = field(default_factory=redis_keys.feed)
    slots: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The shards in the order of their lowest slots, and for each slot the index of its shard."""

    shards: tuple[ShardClient, ...]
    owners: Sequence[int | None] = ()

    def of(self, key: str) -> ShardClient | None:
        """The shard with this key; None if no primary owns its slot at the moment."""
        if not self.owners:
            return self.shards[0]
        shard = self.owners[redis_cluster.slot_of(key)]
        return None if shard is None else self.shards[shard]


class RedisCluster:
    """A Redis Cluster, reached through any of its nodes. Safe for threads.

    Redirections are not followed: writers read the layout first. A write that fails because slots are moving is repeated
    later.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url, self._options = url, options
        self._order = redis_cluster.seed_nodes(url)  # nodes to ask for the layout; the node that replied last is first
        self._clients: dict[Node, Redis] = {}
        self._lock = threading.Lock()

    def layout(self) -> Layout:
        """The current layout according to one node. Raises RedisError if no node replies."""
        failure: RedisError = NoAnswer("no node of the cluster answers")
        for node in list(self._order):
            try:
                nodes = redis_cluster.owners(self._client(node).execute_command("CLUSTER", "SLOTS"), node)  # type: ignore[no-untyped-call]
            except RedisError as error:
                failure = error
                continue
            if nodes:
                self._order = list(dict.fromkeys([node, *nodes, *self._order]))
                return self._layout(nodes)
        raise failure

    def _layout(self, nodes: dict[Node, tuple[redis_cluster.Span, ...]]) -> Layout:
        shards = tuple(
            ShardClient(self._client(node), redis_keys.feed(spans[0][0]), redis_cluster.spans_text(spans))
            for node, spans in nodes.items()
        )
        return Layout(shards, redis_cluster.owner_table(list(nodes.values())))

    def _client(self, node: Node) -> Redis:
        with self._lock:
            if node not in self._clients:
                self._clients[node] = Redis.from_url(redis_cluster.node_url(self._url, node), **self._options)
            return self._clients[node]

    def ping(self) -> bool:
        """Return True if every slot has a primary and every primary replies; otherwise raise RedisError."""
        layout = self.layout()
        for shard in layout.shards:
            shard.redis.ping()
        if None in layout.owners:
            raise NoAnswer("some slots of the cluster have no primary")
        return True

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


AnyRedis = Redis | RedisCluster


def connect(url: str, *, seconds: float = TIMEOUT_SECONDS) -> AnyRedis:
    """A client that replies or fails within `seconds` and never retries. Nothing is opened yet.

    `url` is `redis://`, `rediss://` or `unix://` for one server, `redis+cluster://` or `rediss+cluster://` for a
    cluster. All use RESP2, because its stream replies have the same shape in every version of the library.
    """
    options: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,  # no CLIENT SETINFO: Redis 7.0 does not know it, and the user needs one command less
    }
    return RedisCluster(url, **options) if redis_cluster.is_cluster(url) else Redis.from_url(url, **options)


def layout(redis: AnyRedis) -> Layout:
    """The current shards. Raises RedisError if a cluster does not reply."""
    return redis.layout() if isinstance(redis, RedisCluster) else Layout((ShardClient(redis),))


def holder(redis: AnyRedis, key: str) -> Redis:
    """The server with this key. Raises Unavailable if the cluster does not reply, or no server has the key."""
    try:
        shard = layout(redis).of(key)
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    if shard is None:
        raise Unavailable(_AWAY)
    return shard.redis


_AWAY: Final = Text("缓存服务暂时无法访问", "Redis does not answer")
