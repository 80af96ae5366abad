"""A connection to Redis with an error is closed: no request gets the reply of another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.exceptions import ConnectionError as Disconnected

from scanweb.redis.client import RedisClient
from scanweb.redis.connection import Connection


async def _with_server(replies: list[bytes], use: Callable[[Connection], Awaitable[None]]) -> None:
    """Use a connection to a server that answers each write with these bytes; checks that the connection is closed."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            await reader.read(4096)
            writer.write(reply)
        await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Connection(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await use(connection)
    connection.close()
    await asyncio.wait_for(ended.wait(), 10)
    server.close()


def test_what_is_no_redis_is_hung_up_on() -> None:
    async def use(connection: Connection) -> None:
        with pytest.raises(Disconnected):
            await connection.execute([("PING",)])

    asyncio.run(_with_server([b"HTTP/1.1 400 Bad Request\r\n\r\n"], use))


def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_answer() -> None:
    async def use(connection: Connection) -> None:
        assert await connection.execute([("GET", "a")]) == [b"a"]
        with pytest.raises(Disconnected):
            await connection.execute([("GET", "b")])

    asyncio.run(_with_server([b"+a\r\n+stray\r\n"], use))


def test_after_a_broken_connection_the_next_question_opens_another() -> None:
    async def use(connection: Connection) -> None:
        assert await connection.execute([("GET", "a")]) == [b"a"]
        connection.close()
        assert await connection.execute([("GET", "a")]) == [b"a"]

    asyncio.run(_with_server([b"+a\r\n"], use))


def test_a_client_that_is_closed_during_a_round_trip_closes_that_connection_at_its_end() -> None:
    async def scene() -> None:
        reached, let, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(4096)
            reached.set()
            await let.wait()
            writer.write(b"+a\r\n")
            await reader.read()
            ended.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = RedisClient(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", seconds=10)
        trip = asyncio.create_task(client.execute([("GET", "a")]))
        await reached.wait()
        await client.close()
        let.set()
        assert await trip == [b"a"]
        await asyncio.wait_for(ended.wait(), 10)
        server.close()

    asyncio.run(scene())
