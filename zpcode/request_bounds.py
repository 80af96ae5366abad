"""Request bounds: uvicorn's HTTP protocol with limits on time and size. Authority and scan service are served with it.

Plain uvicorn waits without limit for the end of a head and for a client that does not read, and keeps headers of any
length in memory. Here a head must arrive within `head_seconds` and `HEAD_BYTES`, with at most `MAX_FIELDS` fields, and a
response must be read within `take_seconds`. A subclass bounds the body: `scanweb.server`, `zpcode.server`. A client that
exceeds a bound is refused and disconnected, at no cost to other clients.

llhttp, the parser below, refuses most of what two servers could read differently (RFC 9112, 11.2): a `Transfer-Encoding`
beside a `Content-Length`, a line that ends with LF alone, a field that is continued on the next line (obs-fold). The rest is
refused here: a version other than 1.0 and 1.1, no `Host` or two, a coding other than `chunked`, codings in two lines, an
upgrade with a body, and a second blank within the request line (RFC 9112, 3), which llhttp skips.

A reverse proxy in front does the same (deploy/nginx.conf). These bounds are for hosts without a proxy, and for proxies
that are configured to wait longer.

Requests that come before the response to an earlier one (pipelining, RFC 9112, 9.3.2) wait for their turn. While any waits,
nothing more is parsed or read: requests of 26 bytes would become kilobytes each, before any limit by address is asked.

Errors of clients are not logged: a client could fill the disk with them.
"""

from __future__ import annotations

import logging
import re
from asyncio import TimerHandle, Transport
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NoReturn

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES: Final = 32 * 1024
MAX_FIELDS: Final = 100
"""Header fields of a request. A browser sends at most thirty."""
_PIECE: Final = 4 * 1024
"""How much is parsed at once: most requests, or about 150 of the smallest."""
_WAITING_BYTES: Final = 2**20
"""How much of further requests a connection keeps while earlier ones wait for their turn. Reading has stopped by then."""
_VERSION: Final = b" HTTP/1."
_HEAD_END: Final = b"\r\n\r\n"
_FURTHER_BLANKS: Final = re.compile(rb"(?<= ) +")
_LOG: Final = logging.getLogger("uvicorn.bounds")
_LOG.setLevel(logging.ERROR)


def refusal(status: int, text: str) -> bytes:
    """A whole response that refuses a request and ends the connection."""
    body = text.encode()
    head = f"content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\ncontent-length: {len(body)}\r\n"
    return STATUS_LINE[status] + head.encode("ascii") + b"connection: close\r\n\r\n" + body


class _HeadRefused(Exception):
    """The parser stops at this head."""


class RequestBounds(HttpToolsProtocol):
    """One connection. Few steps of an ordinary request are overridden, because each costs a scan 0.1 µs; half of that is
    `super()` (CPython 3.11), so these steps name the base class.

    uvicorn makes a new `scope` at the first byte of a request and a new `cycle` at the end of its head. So the arriving
    request is whole when its scope is `_whole`, and its head is whole when its scope is the cycle's.
    """

    head_seconds: ClassVar[float] = 10.0
    """From the connection, or from the first byte of a further request, to the last byte of the head."""
    take_seconds: ClassVar[float] = 20.0
    """How long a client may pause reading, and how long it may take to read the rest while the connection is being closed."""
    refusals: ClassVar[Mapping[int, bytes]] = {
        400: refusal(400, "请求不是有效的 HTTP / this is not valid HTTP\n"),
        408: refusal(408, "请求没有在时限内到达 / the request did not arrive in time\n"),
        431: refusal(431, "请求头过大 / the header fields are too large\n"),
    }

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.logger = _LOG
        self._whole: object = self
        self._measured: object = None
        self._size = 0
        self._fault = 400
        self._refused = False
        self._waiting = b""
        self._last = b""
        self._arrival_timer: TimerHandle | None = None
        self._reading_timer: TimerHandle | None = None

    # Requests ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client connected: start the timer for its first request."""
        super().connection_made(transport)
        self._arrival_timer = self.loop.call_later(self.head_seconds, self._arrival_ended)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests. Most are one whole head, and the second blank of its first line is the one before its only version.

        Everything else is parsed in pieces. A request that comes in parts is measured: no head grows beyond its bound.
        """
        if (
            self._size
            or self.pipeline
            or len(data) > _PIECE
            or self._waiting
            or data.rfind(_VERSION) != data.find(b" ", 4)
            or not data.endswith(_HEAD_END)
        ):
            self._receive_pieces(data)
            return
        HttpToolsProtocol.data_received(self, data)
        if self._whole is not self.scope:
            self._check_arrival(len(data))
        elif self._arrival_timer is not None:
            self._end_arrival()

    def _receive_pieces(self, data: bytes) -> None:
        """Pass on a piece that ends at the bound of the head, so that a head which is larger is seen before its end."""
        at = 0
        while at < len(data) and not self.transport.is_closing():
            if self.pipeline or self._waiting:
                self._wait(data[at:])
                return
            end = min(len(data), at + min(_PIECE, max(1, HEAD_BYTES - self._size)))
            self._parse(data[at:end])
            if self._whole is not self.scope:
                self._check_arrival(end - at)
            else:
                self._end_arrival()
            at = end

    def _parse(self, data: bytes) -> None:
        """Parse a piece, and refuse a second blank within a request line.

        llhttp skips such a blank but refuses a tab in its place. In a field a tab is as good as a blank (RFC 9110, 5.6.3).
        So until the first field is complete, the parser gets the second of several blanks as a tab.
        """
        text, at = self._last + data, len(self._last)
        for blanks in _FURTHER_BLANKS.finditer(text, at):
            HttpToolsProtocol.data_received(self, text[at : blanks.start()])
            at = blanks.start()
            if not self._has_head() and not self.headers:
                HttpToolsProtocol.data_received(self, b"\t")
                at += 1
            if self.transport.is_closing():
                return
        HttpToolsProtocol.data_received(self, text[at:])
        self._last = data[-1:]

    def _wait(self, data: bytes) -> None:
        """Keep what came while earlier requests wait for their turn, and read nothing more."""
        self._waiting += data
        if len(self._waiting) > _WAITING_BYTES:
            self._hang_up()
            return
        self.flow.pause_reading()
        if self._arrival_timer is not None and not self._has_head():  # the client is not the one that is late
            self._arrival_timer.cancel()
            self._arrival_timer = None

    def on_response_complete(self) -> None:
        """A response is complete: the next request has its turn. What waits is parsed when no request waits before it."""
        HttpToolsProtocol.on_response_complete(self)
        if self._waiting:
            self.flow.pause_reading()  # the line above has resumed it
            if not self.pipeline:
                self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        data, self._waiting = self._waiting, b""
        if data and not self.transport.is_closing():
            self.flow.resume_reading()
            self._receive_pieces(data)

    def _end_arrival(self) -> None:
        """A request is whole, and no further one has begun."""
        self._size = 0
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None

    def _check_arrival(self, more: int) -> None:
        """Check the size of a request that is not whole yet, of which at most `more` bytes have just come, and time the rest."""
        if self._measured is not self.scope:
            self._measured, self._size = self.scope, 0
        self._size += more
        if self._has_head():
            self._check_body(more)
        elif self._size >= HEAD_BYTES:
            self._refuse(431)
        elif self._arrival_timer is None:
            self._arrival_timer = self.loop.call_later(self.head_seconds, self._arrival_ended)

    def _check_body(self, more: int) -> None:
        """The head is whole, the body is not: at most `more` bytes of it have just come, `_size` with the head."""
        raise NotImplementedError

    def _has_head(self) -> bool:
        return self.cycle is not None and self.cycle.scope is self.scope

    def on_headers_complete(self) -> None:
        """A head is whole. Most heads need one glance: one `Host`, no `Connection`, no coding, no upgrade, HTTP/1.1.

        Where a request has no `Connection`, llhttp keeps the connection alive in HTTP/1.1 only. To ask so takes 14 ns; to
        ask for the version takes 230 ns.
        """
        names = [name for name, _ in self.headers]
        if len(names) > MAX_FIELDS:
            self._stop(431)
        parser = self.parser
        if (
            names.count(b"host") != 1
            or b"connection" in names
            or b"transfer-encoding" in names
            or parser.should_upgrade()
            or not parser.should_keep_alive()
        ):
            self._check_head(names)
        HttpToolsProtocol.on_headers_complete(self)

    def _check_head(self, names: list[bytes]) -> None:
        """Refuse what RFC 9112 says is refused and llhttp lets pass."""
        version, hosts = self.parser.get_http_version(), names.count(b"host")
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in {"1.0", "1.1"} or hosts > 1 or (version == "1.1" and not hosts):
            self._stop(400)  # section 3.2
        if codings and (version == "1.0" or codings != [b"chunked"]):
            self._stop(400)  # section 6.1; llhttp goes by the last line, another server may go by the first
        if self.parser.should_upgrade() and (codings or b"content-length" in names):
            self._stop(400)  # after an upgrade the parser reads no body

    def _should_upgrade(self) -> bool:
        """No WebSocket, whatever uvicorn is started with: a handshake would be logged with the path, which is a code."""
        return False

    def _stop(self, status: int) -> NoReturn:
        """Within a callback of the parser: refuse the request whose head is being parsed."""
        self._fault = status
        raise _HeadRefused

    def on_message_complete(self) -> None:
        """A request is whole."""
        self._whole = self.scope
        HttpToolsProtocol.on_message_complete(self)
        cycle = self.cycle
        if cycle is not None and not cycle.keep_alive:
            self._end_with_response()

    def _end_with_response(self) -> None:
        """The connection ends with the response to the request that has just come."""

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
        self._start_reading_timer()

    def resume_writing(self) -> None:
        """The client has caught up: stop the timer."""
        super().resume_writing()
        if self._reading_timer is not None and not self.transport.is_closing():
            self._reading_timer.cancel()
            self._reading_timer = None
            if not self.cycle.keep_alive:
                self._end_with_response()

    def _start_reading_timer(self) -> None:
        if self._reading_timer is None:
            self._reading_timer = self.loop.call_later(self.take_seconds, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        """No further request came on a connection that was kept open."""
        self._hang_up()

    def send_400_response(self, msg: str) -> None:
        """Refuse a request that the parser could not read, or whose head was refused."""
        del msg
        self._refuse(self._fault)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone: stop its timers."""
        for timer in (self._arrival_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        self._arrival_timer = self._reading_timer = None
        self._waiting = b""
        super().connection_lost(exc)

    def _refuse(self, status: int) -> None:
        """Send the reason, unless it would be read as part of another response, and disconnect."""
        if self._refused or self.transport.is_closing():
            return
        if self._is_next():
            self.transport.write(self.refusals[status])
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
        """Close the connection, after at most `take_seconds` for the client to read the rest."""
        self.transport.close()
        self._start_reading_timer()
