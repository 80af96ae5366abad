"""One connection to a Redis server that carries one pipeline at a time. hiredis reads and writes the protocol.

redis-py's connection spends a microsecond of Python on each argument and wakes a task for each reply: more than the rest
of a scan costs. Here a pipeline is one write, and its replies complete one future. Addresses are parsed by redis-py:
`redis://`, `rediss://` (TLS) and `unix://`, with user, password and database.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import ResponseError

Command = tuple[str | int | bytes, ...]


class _ReplyProtocol(asyncio.Protocol):
    """Collects the replies to one pipeline after another."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[list[Any]] | None = None
        self.replies: list[Any] = []
        self.missing = 0
        self.reader = hiredis.Reader(protocolError=Disconnected, replyError=ResponseError)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, replies = self.reader, self.replies
        try:
            reader.feed(data)
            while self.missing and (reply := reader.gets()) is not False:
                replies.append(reply)
                self.missing -= 1
        except Disconnected as error:
            if self.transport is not None:
                self.transport.abort()
            self.connection_lost(error)
            return
        if not self.missing and self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(Disconnected(str(exc or "closed")))


class Connection:
    """A connection that its first use opens. It carries one pipeline at a time, and no other one after a failed one."""

    def __init__(self, url: str) -> None:
        self._address = cast("dict[str, Any]", parse_url(url))
        self._protocol: _ReplyProtocol | None = None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """The replies; an error of a single command is in its place. Raises OSError or redis.exceptions.ConnectionError.

        A caller that is cancelled has to `close`: the replies still to come would be read as those to the next commands.
        """
        protocol = self._protocol
        if protocol is None or protocol.transport is None:
            protocol = await self._open()
        return await self._exchange(protocol, commands)

    def close(self) -> None:
        """Disconnect. The next `execute` connects again."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abort()

    async def _exchange(self, protocol: _ReplyProtocol, commands: Sequence[Command]) -> list[Any]:
        if protocol.transport is None:
            raise Disconnected("closed")
        if protocol.reader.has_data():  # it would be read as the first of these replies
            raise Disconnected("a reply without a command")
        waiting: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        protocol.waiting, protocol.replies, protocol.missing = waiting, [], len(commands)
        protocol.transport.write(b"".join([hiredis.pack_command(cast("Any", command)) for command in commands]))
        return await waiting

    async def _open(self) -> _ReplyProtocol:
        self.close()
        loop, address = asyncio.get_running_loop(), self._address
        if "path" in address:
            _, protocol = await loop.create_unix_connection(_ReplyProtocol, address["path"])
        else:
            secure = _tls(address) if "connection_class" in address else None
            _, protocol = await loop.create_connection(
                _ReplyProtocol, address.get("host", "localhost"), address.get("port", 6379), ssl=secure
            )
        self._protocol = protocol
        for command in self._greeting():
            (reply,) = await self._exchange(protocol, [command])
            if isinstance(reply, Exception):
                self.close()
                raise Disconnected(str(reply))
        return protocol

    def _greeting(self) -> list[Command]:
        address = self._address
        commands: list[Command] = []
        if address.get("password"):
            user = (address["username"],) if address.get("username") else ()
            commands.append(("AUTH", *user, address["password"]))
        if address.get("db"):
            commands.append(("SELECT", address["db"]))
        return commands


def _tls(address: dict[str, Any]) -> ssl.SSLContext:
    """TLS that verifies the server's certificate, against `ssl_ca_certs` where the address names that file."""
    context = ssl.create_default_context(cafile=address.get("ssl_ca_certs"))
    certificate = address.get("ssl_certfile")
    if certificate:
        context.load_cert_chain(certificate, address.get("ssl_keyfile"))
    return context
