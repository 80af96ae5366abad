"""How the scan service talks to Redis: bounded in time, never retried, on a connection nobody shares.

redis-py's own defaults are unsafe here (a frozen server held one GET for 59 s), so every round trip is
bounded as a whole, and a connection on which a round trip was broken off is closed, never used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from zpcode.errors import Text, Unavailable

Command = tuple[str | int | bytes, ...]
_CLUSTER = "redis+cluster://"
_AWAY = Text("缓存服务没有应答", "Redis does not answer")


class RedisClient:
    """A Redis server or cluster. Addresses: `redis://`, `rediss://`, `unix://`, `redis+cluster://`.

    No round trip takes longer than `seconds`, nothing is opened before the first one, and `trips` counts
    them. An empty address is a Redis that never answers.
    """

    def __init__(self, url: str, *, seconds: float = 0.2, connections: int = 8) -> None:
        # The read timeout is ours, around the whole round trip: stricter than redis-py's, which starts anew
        # with every reply, and cheaper.
        options: dict[str, Any] = {
            "socket_connect_timeout": seconds,
            "socket_timeout": None,
            "retry": Retry(NoBackoff(), 0),
            "max_connections": connections,
        }
        self.trips = 0
        self.seconds = seconds
        self.cluster = url.startswith(_CLUSTER)
        self._client: Redis | RedisCluster | None
        if not url:
            self._client = None
        elif self.cluster:
            options["socket_timeout"] = seconds
            self._client = RedisCluster.from_url("redis://" + url.removeprefix(_CLUSTER), **options)
        else:
            self._client = Redis.from_url(url, **options)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies to some commands in one pipeline; a command that failed is answered by its error.

        Raises Unavailable after `seconds`, or where the connection fails.
        """
        if self._client is None:
            raise Unavailable(_AWAY)
        self.trips += 1
        pipeline = cast("Any", self._client).pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            async with asyncio.timeout(self.seconds):
                return cast("list[Any]", await pipeline.execute(raise_on_error=False))
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable(_AWAY) from error

    async def close(self) -> None:
        """Close every connection."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(self.seconds):
                await self._client.aclose()
        except (RedisError, OSError, TimeoutError):
            return
