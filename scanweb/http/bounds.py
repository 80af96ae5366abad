"""Request bounds: uvicorn's HTTP protocol with limits on time and size. `scanweb.server` is built on it.

Plain uvicorn waits without limit for the end of a head and for a client that does not read, and keeps headers of any
length in memory. Here a request must arrive within `ARRIVE_SECONDS` and `REQUEST_BYTES`, and a response must be read
within `TAKE_SECONDS`. A client that exceeds a bound is refused and disconnected, at no cost to other clients.

A reverse proxy in front does the same (deploy/nginx.conf). These bounds are for hosts without a proxy, and for proxies
that are configured to wait longer.

Errors of clients are not logged: a client could fill the disk with them.
"""

from __future__ import annotations

import logging
from asyncio import TimerHandle, Transport
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

ARRIVE_SECONDS: Final = 10.0
"""From the connection, or from the first byte of a further request, to the last byte of the request."""
TAKE_SECONDS: Final = 20.0
"""How long a client may pause reading, and how long it may take to read the rest while the connection is being closed."""
REQUEST_BYTES: Final = 32 * 1024
"""Head and body together. A scan has at most 2 KiB and no body."""
_PIECE: Final = 16 * 1024
_LOG: Final = logging.getLogger("uvicorn.bounds")
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
    """One connection. Only two steps of an ordinary request are overridden, because each costs a scan 0.2 µs.

    uvicorn makes a new `scope` at the first byte of a request and a new `cycle` at the end of its head. So the arriving
    request is whole when its scope is `_whole`, and its head is whole when its scope is the cycle's.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.logger = _LOG
        self._whole: object = self
        self._measured: object = None
        self._size = 0
        self._refused = False
        self._arrival_timer: TimerHandle | None = None
        self._reading_timer: TimerHandle | None = None

    # Requests ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client connected: start the timer for its first request."""
        super().connection_made(transport)
        self._arrival_timer = self.loop.call_later(ARRIVE_SECONDS, self._arrival_ended)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests, parsed in pieces so that no request grows beyond its bound."""
        if len(data) > _PIECE:
            for at in range(0, len(data), _PIECE):
                if not self.transport.is_closing():
                    self.data_received(data[at : at + _PIECE])
            return
        super().data_received(data)
        if self._whole is not self.scope:
            self._check_arrival(len(data))
        elif self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None

    def _check_arrival(self, more: int) -> None:
        """Check the size of a request that is not whole yet, of which at most `more` bytes have just come, and time the rest."""
        if self._measured is not self.scope:
            self._measured, self._size = self.scope, 0
        self._size += more
        if self._size > REQUEST_BYTES:
            self._refuse(413 if self._has_head() else 431)
        elif self._arrival_timer is None:
            self._arrival_timer = self.loop.call_later(ARRIVE_SECONDS, self._arrival_ended)

    def _has_head(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope

    def on_message_complete(self) -> None:
        """A request is whole. If the connection ends with its response, start the timer for reading that."""
        self._whole = self.scope
        super().on_message_complete()
        cycle = self.cycle
        if cycle is not None and not cycle.keep_alive and self._reading_timer is None:
            self._reading_timer = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def _arrival_ended(self) -> None:
        self._arrival_timer = None
        if self._size:
            self._refuse(408)
        else:  # a browser's spare connection: it would read a refusal as the response to its next request
            self._hang_up()

    # Responses ---------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client reads more slowly than the response is written: start the timer."""
        super().pause_writing()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has caught up: stop the timer."""
        super().resume_writing()
        if self._reading_timer is not None and self.cycle.keep_alive and not self.transport.is_closing():
            self._reading_timer.cancel()
            self._reading_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """No further request came on a connection that was kept open."""
        self._hang_up()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser could not read."""
        del msg
        self._refuse(400)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: stop its timers."""
        for timer in (self._arrival_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        self._arrival_timer = self._reading_timer = None
        super().connection_lost(exc)

    def _refuse(self, status: int) -> None:
        """Send the reason, unless it would be read as part of another response, and disconnect."""
        if self._refused or self.transport.is_closing():
            return
        if self._is_next():
            self.transport.write(_WHOLE_REFUSALS[status])
        self._refused = True
        if self.cycle is not None:
            self.cycle.disconnected = True  # drop whatever the application still sends
        self.pipeline.clear()
        self._hang_up()

    def _is_next(self) -> bool:
        """Whether the next bytes are read as the response to the arriving request."""
        if self._has_head():
            return not self.pipeline and not self.cycle.response_started
        return self.cycle is None or self.cycle.response_complete

    def _hang_up(self) -> None:
        """Close the connection, after at most `TAKE_SECONDS` for the client to read the rest."""
        self.transport.close()
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(TAKE_SECONDS, self.transport.abort)
