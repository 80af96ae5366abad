"""The Redis client of the scan service: bounded in time, no retries, one round trip at a time on each connection.

redis-py's defaults are unsafe here: a frozen server delayed one GET by 59 s. So every round trip is bounded as a whole,
and a connection on which a round trip was cancelled is closed and never used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import RedisError

from scanweb.redis.cluster import ClusterServer
from scanweb.redis.connection import Command, Connection
from zpcode.errors import Text, Unavailable
from zpcode.wire import redis_cluster

_SHARE = 0.9  # a shard may take this share of a round trip, so that a frozen shard leaves time for the other shards
_AWAY = Text("缓存服务没有应答", "Redis does not answer")


class _Server(Protocol):
    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of single commands among them. Raises RedisError, OSError or Unavailable."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class RedisClient:
    """A Redis server or cluster. Addresses: `redis://`, `rediss://`, `unix://`, `redis+cluster://`, `rediss+cluster://`.

    No round trip takes longer than `seconds`; `trips` counts them. Connections are opened by the first one. With an empty
    address every round trip fails. Replies are as the server sends them.
    """

    def __init__(self, url: str, *, seconds: float = 0.2) -> None:
        self.trips = 0
        self.seconds = seconds
        self.cluster = redis_cluster.is_cluster(url)
        self._server: _Server | None = None
        if self.cluster:
            self._server = ClusterServer(url, lambda node: RedisClient(node, seconds=_SHARE * seconds))
        elif url:
            self._server = _Single(url)

    def reaches(self, key: str) -> bool:
        """False where the server of a key is known to be down (on a cluster)."""
        return not isinstance(self._server, ClusterServer) or self._server.reaches(key)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; returns their replies. The reply to a command that failed is its error.

        Raises Unavailable after `seconds`, or if the connection fails.
        """
        if self._server is None:
            raise Unavailable(_AWAY)
        self.trips += 1
        try:
            async with asyncio.timeout(self.seconds):
                return await self._server.execute(commands)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(_AWAY) from error

    async def close(self) -> None:
        """Close every connection."""
        if self._server is None:
            return
        try:
            async with asyncio.timeout(self.seconds):
                await self._server.close()
        except (RedisError, OSError, TimeoutError):
            return


class _Single:
    """One server, with as many connections as round trips run at a time. The caller limits that number."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._closed = False
        self._idle: list[Connection] = []

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._idle.pop() if self._idle else Connection(self._url)
        try:
            replies = await connection.execute(commands)
        except BaseException:
            connection.close()
            raise
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
        return replies

    async def close(self) -> None:
        """Close the idle connections now, and each other one at the end of its round trip."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
