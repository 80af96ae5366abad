"""uvicorn with two additions: bounds (`zpcode.request_bounds`) and whole responses in one message.

Started as `uvicorn --http scanweb.server:Protocol …`.

uvicorn checks and copies every header of every response in Python, and takes head and body in two messages. The head of
a scan page is the same for thousands of scans. So the ASGI extension `zpcode.response`, announced in
`scope["extensions"]` (ASGI 3.0), takes it ready-made. Under a server without the extension the same application sends
plain ASGI messages: `scanweb.http.responses.respond` does both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from scanweb.http.responses import WHOLE_RESPONSE
from zpcode.request_bounds import HEAD_BYTES, RequestBounds, refusal

_EXTENSIONS: Final[dict[str, dict[object, object]]] = {WHOLE_RESPONSE: {}}


class _OwnHeaders:
    """uvicorn's own headers (the date) as bytes, built once for each list: uvicorn makes a new list every second."""

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
    """Responses on their way out: those of one turn of the event loop are written together at its end.

    A write carries a page through the kernel to the reader's socket and wakes the reader. Writes in a row cost a quarter
    of writes with other Python code between them.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def put(self, transport: asyncio.Transport, response: bytes) -> None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._write)
        self._waiting.append((transport, response))

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for transport, response in waiting:
            if not transport.is_closing():
                transport.write(response)


_own_headers = _OwnHeaders()
_outgoing = _Outgoing()


class Cycle(RequestResponseCycle):
    """One request and its response."""

    async def send(self, message: Any) -> None:
        """Send an ASGI message, or a whole response."""
        if message["type"] != WHOLE_RESPONSE:
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_started:
            raise RuntimeError("a second response to one request")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        response = b"".join((message["head"], _own_headers(self.default_headers), end, *message["body"]))
        self.message_event.set()
        if self.keep_alive:
            _outgoing.put(self.transport, response)
        else:
            self.transport.write(response)
            self.transport.close()
        self.on_response()


class Protocol(RequestBounds):
    """uvicorn's httptools protocol with bounds and the extension for whole responses.

    A scan has no body: head and body together have the bounds of a head.
    """

    refusals: ClassVar[Mapping[int, bytes]] = {
        **RequestBounds.refusals,
        413: refusal(413, "请求过大：扫码不需要请求体 / the request is too large: a scan has no body\n"),
    }

    def _end_with_response(self) -> None:
        self._start_reading_timer()  # a scan answers within milliseconds

    def _check_body(self, more: int) -> None:
        del more
        if self._size >= HEAD_BYTES:
            self._refuse(413)
        elif self._arrival_timer is None:
            self._arrival_timer = self.loop.call_later(self.head_seconds, self._arrival_ended)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Callable[..., Any]) -> None:
        cycle.__class__ = Cycle  # uvicorn offers no setting for this class
        cycle.scope["extensions"] = _EXTENSIONS
        super()._start_asgi_task(cycle, app)
