"""One connection to a Redis server that carries one pipeline at a time: hiredis reads and writes the protocol.

redis-py's own connection spends a microsecond of Python on every argument and wakes a task for every reply, which is
more than the rest of a scan. Here a pipeline is one write, and its replies wake one future. Addresses are read by
redis-py: `redis://`, `rediss://` (TLS) and `unix://`, with user, password and database.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, ResponseError

Command = tuple[str | int | bytes, ...]
_NO_SCRIPT: Final = "NOSCRIPT"


def _failed(message: str) -> ResponseError:
    return NoScriptError(message) if message.startswith(_NO_SCRIPT) else ResponseError(message)


class _Replies(asyncio.Protocol):
    """The replies to one pipeline after another."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.waiting: asyncio.Future[list[Any]] | None = None
        self.found: list[Any] = []
        self.missing = 0
        self.reader = hiredis.Reader(protocolError=Disconnected, replyError=_failed)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        reader, found = self.reader, self.found
        try:
            reader.feed(data)
            while self.missing and (reply := reader.gets()) is not False:
                found.append(reply)
                self.missing -= 1
        except Disconnected as error:
            if self.transport is not None:
                self.transport.abort()
            self.connection_lost(error)
            return
        if not self.missing and self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(found)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(Disconnected(str(exc or "closed")))


class Connection:
    """A connection that is opened by its first use. Not shared: one pipeline at a time, and none after a broken one."""

    def __init__(self, url: str) -> None:
        self._address = cast("dict[str, Any]", parse_url(url))
        self._replies: _Replies | None = None

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, errors of single commands among them. Raises OSError or redis.exceptions.ConnectionError.

        Whoever gives up waiting has to `close`: what is still to come would be taken for the next answer.
        """
        replies = self._replies
        if replies is None or replies.transport is None:
            replies = await self._open()
        return await self._exchange(replies, commands)

    def close(self) -> None:
        """Hang up. The next `ask` opens anew."""
        replies, self._replies = self._replies, None
        if replies is not None and replies.transport is not None:
            replies.transport.abort()

    async def _exchange(self, replies: _Replies, commands: Sequence[Command]) -> list[Any]:
        if replies.transport is None:
            raise Disconnected("closed")
        if replies.reader.has_data():  # it would be taken for the first of these answers
            raise Disconnected("a reply that nobody asked for")
        waiting: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        replies.waiting, replies.found, replies.missing = waiting, [], len(commands)
        replies.transport.write(b"".join([hiredis.pack_command(cast("Any", command)) for command in commands]))
        return await waiting

    async def _open(self) -> _Replies:
        self.close()
        loop, address = asyncio.get_running_loop(), self._address
        if "path" in address:
            _, replies = await loop.create_unix_connection(_Replies, address["path"])
        else:
            secure = _tls(address) if "connection_class" in address else None
            _, replies = await loop.create_connection(
                _Replies, address.get("host", "localhost"), address.get("port", 6379), ssl=secure
            )
        self._replies = replies
        for command in self._greeting():
            (reply,) = await self._exchange(replies, [command])
            if isinstance(reply, Exception):
                self.close()
                raise Disconnected(str(reply))
        return replies

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
    """TLS that checks the server's certificate, against `ssl_ca_certs` where the address names one."""
    context = ssl.create_default_context(cafile=address.get("ssl_ca_certs"))
    certificate = address.get("ssl_certfile")
    if certificate:
        context.load_cert_chain(certificate, address.get("ssl_keyfile"))
    return context
