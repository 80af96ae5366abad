"""uvicorn, with two things added: bounds (`scanweb.http.bounds`), and a whole answer in one message. `uvicorn --http scanweb.server:Protocol …`.

uvicorn checks and copies every header of every answer in Python, and takes head and body apart in two messages. The
head of a scan page is the same for thousands of scans: so the ASGI extension `zpcode.answer` (announced in
`scope["extensions"]`, as ASGI 3.0 has it) takes it ready-made. Under a server without it the same application
answers in plain ASGI messages: `scanweb.http.scan_route.respond` knows both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from scanweb.http.bounds import RequestBounds
from scanweb.http.responses import ANSWER

_EXTENSIONS: Final[dict[str, dict[object, object]]] = {ANSWER: {}}


class _Dated:
    """uvicorn's own headers (the date) as bytes; uvicorn makes a new list of them every second."""

    __slots__ = ("_headers", "_text")

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._text = b""

    def __call__(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._headers:
            self._headers = headers
            self._text = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return self._text


class _Outgoing:
    """Answers on their way out. Those of one turn of the event loop are written one after another at its end.

    A write puts a page through the kernel as far as the reader's socket and wakes the reader. Between two pages' worth
    of Python that costs four times as much as in a row.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, answer: bytes) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append((transport, answer))

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport, answer in waiting:
            if not transport.is_closing():
                transport.write(answer)


_dated = _Dated()
_outgoing = _Outgoing()


class Cycle(RequestResponseCycle):
    """One request and its answer."""

    async def send(self, message: Any) -> None:
        """An ASGI message, or a whole answer."""
        if message["type"] != ANSWER:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("an answer after the answer")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        answer = b"".join((message["head"], _dated(self.default_headers), end, *message["body"]))
        self.message_event.set()
        if self.keep_alive:
            _outgoing.put(self.transport, answer)
        else:
            self.transport.write(answer)
            self.transport.close()
        self.on_response()


class Protocol(RequestBounds):
    """uvicorn's httptools protocol behind a door, whose requests can be answered whole."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Callable[..., Any]) -> None:
        cycle.__class__ = Cycle  # uvicorn has no hook for the class it makes
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)
