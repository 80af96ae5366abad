"""The outermost ASGI middleware of the API: request id, bound on the body, security headers, log line, metrics.

An exception that nothing else handles becomes a problem document without its text. The middleware is plain ASGI, so
that a body is bounded while it streams in, whatever its Content-Length says.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from opentelemetry.trace import Tracer
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zpcode.api.http import problems
from zpcode.api.http.metrics import ApiMetrics
from zpcode.errors import Text
from zpcode.ratelimit import RateLimit
from zpcode.telemetry import tracing
from zpcode.wire import security_headers

JSON_BYTES: Final = 64 * 1024
UNKNOWN_LINES: Final = 600
"""Log lines a minute about requests without a valid key: anyone can send any number. The metrics count every request."""
_TRACED: Final = ("request_id", "method", "route", "status")
_access = logging.getLogger("zpcode.api.access")
_CRASH = Text("服务内部错误，已记录", "internal error; it has been recorded")


class RequestMiddleware:
    """`larger` maps patterns of paths to the bounds of their bodies in bytes; all other bodies have at most 64 KiB."""

    def __init__(
        self, app: ASGIApp, larger: Mapping[str, int], metrics: ApiMetrics | None = None, tracer: Tracer = tracing.OFF
    ) -> None:
        self.app = app
        self.larger = {re.compile(pattern): bound for pattern, bound in larger.items()}
        self.metrics = metrics or ApiMetrics()
        self.tracer = tracer
        self._unknown_lines = RateLimit(UNKNOWN_LINES)
        self._unlogged = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = str(uuid4())
        started = time.perf_counter()
        response = _ResponseSender(scope, send)
        try:
            await self._serve(scope, receive, response)
        except ClientDisconnect:
            pass  # the client is gone; the log line has status 0, or that of the response which was cut off
        except Exception:
            _access.exception("request failed", extra=_log_fields(scope))
            if response.status:
                raise  # the response has begun: the server closes the connection
            await _send_crash(scope, receive, response.send)
        finally:
            self._record(scope, response.status, time.perf_counter() - started)

    async def _serve(self, scope: Scope, receive: Receive, response: _ResponseSender) -> None:
        """Serve the request in a span, which is named after the route that served it."""
        with tracing.span(self.tracer, "request") as span:
            await self.app(scope, self._bounded(scope, receive), response.send)
            fields = _log_fields(scope) | {"status": response.status}
            span.update_name(f"{fields['method']} {fields['route']}")
            span.set_attributes({name: fields[name] for name in _TRACED})

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count the request and write its log line, which may be left out if there is no valid key."""
        fields = _log_fields(scope) | {"status": status, "milliseconds": round(seconds * 1000, 1)}
        self.metrics.count(scope["method"], fields["route"], status, seconds)
        if not fields["caller"] and self._unknown_lines.spend("", time.monotonic()):
            self._unlogged += 1
            return
        if self._unlogged:
            fields["unlogged"], self._unlogged = self._unlogged, 0
        _access.info("request", extra=fields)

    def _bound(self, path: str) -> int:
        return next((bound for pattern, bound in self.larger.items() if pattern.fullmatch(path)), JSON_BYTES)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receive no more than the bound. The code that reads the body gets HTTPException 413."""
        bound, received = self._bound(scope["path"]), 0
        declared = Headers(scope=scope).get("content-length", "")
        too_large = declared.isdecimal() and (len(declared) > 12 or int(declared) > bound)

        async def bounded() -> Message:
            nonlocal received
            if too_large:
                raise HTTPException(413)
            message = await receive()
            received += len(message.get("body", b""))
            if received > bound:
                raise HTTPException(413)
            return message

        return bounded


class _ResponseSender:
    """Sends the response with the headers that every response has. `status` is 0 until the response begins."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send one ASGI message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._scope["state"]["request_id"]
            headers.setdefault("Cache-Control", "no-store")
            for name, value in security_headers.API.items():
                headers.setdefault(name, value)
        await self._send(message)


async def _send_crash(scope: Scope, receive: Receive, send: Send) -> None:
    response = problems.response(HTTPConnection(scope), problems.KINDS["error"], _CRASH)
    await response(scope, receive, send)


def _log_fields(scope: Scope) -> dict[str, Any]:
    """The fields of a request in the log: its route, but not its address, query, headers or body."""
    return {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"][:16],
        "route": getattr(scope.get("route"), "path", ""),
        "caller": scope["state"].get("caller", ""),
    }
