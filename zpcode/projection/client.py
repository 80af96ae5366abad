"""The authority's Redis, one server or a cluster: how it is reached, and which server holds a key.

Everything above works on shards: a single server is one, a cluster has one for each primary. So there is no second
way of writing for clusters, and one shard that is gone does not keep the others from being written.
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
    """One server that holds its part of all keys. `slots` is that part as text, empty where it is everything."""

    redis: Redis
    feed: Feed = field(default_factory=redis_keys.feed)
    slots: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The shards in the order of their lowest slots, and for each slot the place of its shard among them."""

    shards: tuple[ShardClient, ...]
    owners: Sequence[int | None] = ()

    def of(self, key: str) -> ShardClient | None:
        """The shard that holds a key; None where no primary owns its slot just now."""
        if not self.owners:
            return self.shards[0]
        place = self.owners[redis_cluster.slot_of(key)]
        return None if place is None else self.shards[place]


class RedisCluster:
    """A Redis Cluster, reached through any of its nodes. Safe for threads.

    There are no redirections to follow: whoever writes asks for the layout first, and where slots move at that very
    moment the write fails and is made again a moment later.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url, self._options = url, options
        self._order = redis_cluster.seed_nodes(url)  # whom to ask for the layout, those that answered last time first
        self._clients: dict[Node, Redis] = {}
        self._lock = threading.Lock()

    def layout(self) -> Layout:
        """Who owns what now, as one node sees it. Raises RedisError where no node answers."""
        failure: RedisError = NoAnswer("no node of the cluster answers")
        for node in list(self._order):
            try:
                found = redis_cluster.owners(self._client(node).execute_command("CLUSTER", "SLOTS"), node)  # type: ignore[no-untyped-call]
            except RedisError as error:
                failure = error
                continue
            if found:
                self._order = list(dict.fromkeys([node, *found, *self._order]))
                return self._layout(found)
        raise failure

    def _layout(self, found: dict[Node, tuple[redis_cluster.Span, ...]]) -> Layout:
        shards = tuple(
            ShardClient(self._client(node), redis_keys.feed(spans[0][0]), redis_cluster.spans_text(spans))
            for node, spans in found.items()
        )
        return Layout(shards, redis_cluster.owner_table(list(found.values())))

    def _client(self, node: Node) -> Redis:
        with self._lock:
            if node not in self._clients:
                self._clients[node] = Redis.from_url(redis_cluster.node_url(self._url, node), **self._options)
            return self._clients[node]

    def ping(self) -> bool:
        """True where every slot has a primary and every primary answers. Raises RedisError where not."""
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
    """A client that answers or fails within `seconds` and never retries by itself; nothing is opened yet.

    `url` is `redis://`, `rediss://` or `unix://` for one server, `redis+cluster://` or `rediss+cluster://` for a
    cluster. All speak RESP2: its stream replies have one shape in every version of the library.
    """
    options: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    return RedisCluster(url, **options) if redis_cluster.is_cluster(url) else Redis.from_url(url, **options)


def layout(redis: AnyRedis) -> Layout:
    """The shards there are now. Raises RedisError where a cluster does not answer."""
    return redis.layout() if isinstance(redis, RedisCluster) else Layout((ShardClient(redis),))


def holder(redis: AnyRedis, key: str) -> Redis:
    """The server that holds a key. Raises Unavailable where a cluster cannot say, or nobody holds it."""
    try:
        shard = layout(redis).of(key)
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    if shard is None:
        raise Unavailable(_AWAY)
    return shard.redis


_AWAY: Final = Text("缓存服务暂时无法访问", "Redis does not answer")
