"""The door of a scan process: uvicorn's HTTP protocol with the bounds it does not have. `scanweb.server` stands on it.

A plain uvicorn waits for ever for the end of a head, keeps headers of any length in memory, and waits for ever for a
client that does not read. Here a request has to arrive whole within some seconds and some KiB, and an answer has to be
taken within some seconds; whoever is slower or larger is refused and hung up on, and costs nobody else anything.

A reverse proxy in front does the same (deploy/nginx.conf) and hides slow clients altogether; this is for hosts without
one, and for the day the proxy is told to wait longer.

What clients do wrong is not logged line by line: whoever sends rubbish could fill a disk with it.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle, Transport
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

ARRIVE_SECONDS: Final = 10.0
"""From the connection, or the first byte of a further request, to the last byte of the request."""
TAKE_SECONDS: Final = 20.0
"""For a client that stopped reading, to go on reading; and for what is left when the connection is being closed."""
REQUEST_BYTES: Final = 32 * 1024
"""Head and body together; a scan has 2 KiB at most, and no body."""
_PIECE: Final = 16 * 1024
_LOG: Final = logging.getLogger("uvicorn.door")
_LOG.setLevel(logging.ERROR)

_REFUSALS: Final = {
    400: "请求不是有效的 HTTP / this is not valid HTTP\n",
    408: "请求没有在时限内到达 / the request did not arrive in time\n",
    413: "请求过大：扫码不需要请求体 / the request is too large: a scan has no body\n",
    431: "请求头过大 / the header fields are too large\n",
}


def _refusal(status: int) -> bytes:
    body = _REFUSALS[status].encode()
    head = f"content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\ncontent-length: {len(body)}\r\n"
    return STATUS_LINE[status] + head.encode("ascii") + b"connection: close\r\n\r\n" + body


_WHOLE_REFUSALS: Final = {status: _refusal(status) for status in _REFUSALS}


class RequestBounds(HttpToolsProtocol):
    """One connection. Only two steps of an ordinary request are watched, because each costs a scan 0.2 µs.

    uvicorn makes a new `scope` at the first byte of a request and a new `cycle` at the end of its head: so the
    request that is arriving is whole when its scope is `_whole`, and has its head when its scope is the cycle's.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.logger = _LOG
        self._whole: object = self
        self._measured: object = None
        self._size = 0
        self._refused = False
        self._arrival: TimerHandle | None = None
        self._taking: TimerHandle | None = None

    # What comes in ----------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client connected, and has so long to send a request."""
        super().connection_made(transport)
        self._arrival = self.loop.call_later(ARRIVE_SECONDS, self._late)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests: piece by piece, so that none of them grows beyond its bound."""
        if len(data) > _PIECE:
            for at in range(0, len(data), _PIECE):
                if not self.transport.is_closing():
                    self.data_received(data[at : at + _PIECE])
            return
        super().data_received(data)
        if self._whole is not self.scope:
            self._wait(len(data))
        elif self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _wait(self, more: int) -> None:
        """For the rest of a request, of which at most `more` bytes came just now."""
        if self._measured is not self.scope:
            self._measured, self._size = self.scope, 0
        self._size += more
        if self._size > REQUEST_BYTES:
            self._refuse(413 if self._has_head() else 431)
        elif self._arrival is None:
            self._arrival = self.loop.call_later(ARRIVE_SECONDS, self._late)

    def _has_head(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope

    def on_message_complete(self) -> None:
        """A request is whole. One after whose answer the connection ends has so long to take it."""
        self._whole = self.scope
        super().on_message_complete()
        cycle = self.cycle
        if cycle is not None and not cycle.keep_alive and self._taking is None:
            self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def _late(self) -> None:
        self._arrival = None
        if self._size:
            self._refuse(408)
        else:  # a browser's spare connection: it would take words for the answer to its next request
            self._hang_up()

    # What goes out ----------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if self._taking is not None and self.cycle.keep_alive and not self.transport.is_closing():
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more came on a connection that was kept."""
        self._hang_up()

    def send_400_response(self, msg: str) -> None:
        """What the parser could not read."""
        del msg
        self._refuse(400)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and so is everything that waited for it."""
        for timer in (self._arrival, self._taking):
            if timer is not None:
                timer.cancel()
        self._arrival = self._taking = None
        super().connection_lost(exc)

    def _refuse(self, status: int) -> None:
        """Say why, where that cannot be taken for part of another answer, and hang up."""
        if self._refused or self.transport.is_closing():
            return
        if self._is_next():
            self.transport.write(_WHOLE_REFUSALS[status])
        self._refused = True
        if self.cycle is not None:
            self.cycle.disconnected = True  # whatever the application still says goes nowhere
        self.pipeline.clear()
        self._hang_up()

    def _is_next(self) -> bool:
        """Whether what is written now is read as the answer to the request that is arriving."""
        if self._has_head():
            return not self.pipeline and not self.cycle.response_started
        return self.cycle is None or self.cycle.response_complete

    def _hang_up(self) -> None:
        """Close, and do not wait for ever until the client has read what is left."""
        self.transport.close()
        if self._taking is None:
            self._taking = self.loop.call_later(TAKE_SECONDS, self.transport.abort)
