"""Around every request: its id, bounds on its body, security headers, one log line, one count, no crash shown outside.

A plain ASGI middleware, so that a body is bounded while it streams in, whatever its Content-Length says.
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
from zpcode.api.http.metrics import ApiMeters
from zpcode.errors import Text
from zpcode.telemetry import tracing
from zpcode.wire import security_headers

JSON_BYTES: Final = 64 * 1024
_TRACED: Final = ("request_id", "method", "route", "status")
_access = logging.getLogger("zpcode.api.access")
_CRASH = Text("服务内部错误，已记录", "internal error; it has been recorded")


class RequestMiddleware:
    """The outermost layer. `larger` has patterns of paths whose bodies may have more than 64 KiB, with their bounds."""

    def __init__(
        self, app: ASGIApp, larger: Mapping[str, int], meters: ApiMeters | None = None, tracer: Tracer = tracing.OFF
    ) -> None:
        self.app = app
        self.larger = {re.compile(pattern): bound for pattern, bound in larger.items()}
        self.meters = meters or ApiMeters()
        self.tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})["request_id"] = str(uuid4())
        began = time.perf_counter()
        answer = _Answer(scope, send)
        try:
            with tracing.span(self.tracer, "request") as span:
                await self.app(scope, self._bounded(scope, receive), answer.send)
                about = _about(scope) | {"status": answer.status}
                span.update_name(f"{about['method']} {about['route']}")
                span.set_attributes({name: about[name] for name in _TRACED})
        except ClientDisconnect:
            pass  # nobody is there to be answered; the log line says status 0, or how far it came
        except Exception:
            _access.exception("request failed", extra=_about(scope))
            if answer.status:
                raise  # half an answer is on its way: let the server break off the connection
            await _crash(scope, receive, answer.send)
        finally:
            seconds = time.perf_counter() - began
            about = _about(scope) | {"status": answer.status, "milliseconds": round(seconds * 1000, 1)}
            _access.info("request", extra=about)
            self.meters.answered(scope["method"], about["route"], answer.status, seconds)

    def _bound(self, path: str) -> int:
        return next((bound for pattern, bound in self.larger.items() if pattern.fullmatch(path)), JSON_BYTES)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Receive no more than the bound. Raises HTTPException 413 in whoever reads the body."""
        bound, taken = self._bound(scope["path"]), 0
        declared = Headers(scope=scope).get("content-length", "")
        too_large = declared.isdecimal() and (len(declared) > 12 or int(declared) > bound)

        async def bounded() -> Message:
            nonlocal taken
            if too_large:
                raise HTTPException(413)
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > bound:
                raise HTTPException(413)
            return message

        return bounded


class _Answer:
    """What is sent back: with every header it needs, its status remembered."""

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


async def _crash(scope: Scope, receive: Receive, send: Send) -> None:
    response = problems.answer(HTTPConnection(scope), problems.KINDS["error"], _CRASH)
    await response(scope, receive, send)


def _about(scope: Scope) -> dict[str, Any]:
    """What the log may know of a request: its route, not its address, query, headers or body."""
    return {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"][:16],
        "route": getattr(scope.get("route"), "path", ""),
        "caller": scope["state"].get("caller", ""),
    }
