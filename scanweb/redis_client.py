"""How the scan service talks to Redis: bounded in time, never retried, on a connection nobody shares.

redis-py's own defaults are unsafe here (a frozen server held one GET for 59 s), so every round trip is
bounded as a whole, and a connection on which a round trip was broken off is closed, never used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

from redis.asyncio import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scanweb.redis_connection import Command, Connection
from zpcode.errors import Text, Unavailable

_CLUSTER = "redis+cluster://"
_AWAY = Text("缓存服务没有应答", "Redis does not answer")
# Replies as the server sends them, whoever speaks to it: redis-py would turn these into shapes of its own.
_AS_SENT = ("INFO", "XRANGE", "XADD", "SET", "SCRIPT LOAD")


class _Server(Protocol):
    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of single commands among them. Raises RedisError or OSError."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class RedisClient:
    """A Redis server or cluster. Addresses: `redis://`, `rediss://`, `unix://`, `redis+cluster://`.

    No round trip takes longer than `seconds`, nothing is opened before the first one, and `trips` counts
    them. An empty address is a Redis that never answers. Replies are as the server sends them.
    """

    def __init__(self, url: str, *, seconds: float = 0.2, connections: int = 8) -> None:
        self.trips = 0
        self.seconds = seconds
        self.cluster = url.startswith(_CLUSTER)
        self._server: _Server | None = None
        if self.cluster:
            self._server = _Cluster("redis://" + url.removeprefix(_CLUSTER), seconds, connections)
        elif url:
            self._server = _Single(url)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to some commands in one pipeline; a command that failed is answered by its error.

        Raises Unavailable after `seconds`, or where the connection fails.
        """
        if self._server is None:
            raise Unavailable(_AWAY)
        self.trips += 1
        try:
            async with asyncio.timeout(self.seconds):
                return await self._server.ask(commands)
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
    """One server. As many connections as round trips run at a time: whoever asks limits how many."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: list[Connection] = []

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._idle.pop() if self._idle else Connection(self._url)
        try:
            replies = await connection.ask(commands)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return replies

    async def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


class _Cluster:
    """A cluster, through redis-py, which knows where which slot is."""

    def __init__(self, url: str, seconds: float, connections: int) -> None:
        self._client = RedisCluster.from_url(
            url,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            max_connections=connections,
        )
        for command in _AS_SENT:
            cast("Any", self._client).set_response_callback(command, _as_sent)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = cast("Any", self._client).pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return cast("list[Any]", await pipeline.execute(raise_on_error=False))

    async def close(self) -> None:
        await self._client.aclose()


def _as_sent(reply: Any, **_: Any) -> Any:
    return reply
