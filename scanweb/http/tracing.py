"""A span for each scan where tracing is on: its method and status, never its path, address or user agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.trace import Tracer

from scanweb.http.exchange import Receive, Scope, Send
from zpcode.telemetry import tracing

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def traced(application: Application, tracer: Tracer) -> Application:
    """An application with a span around each request; where tracing is off the same one, so that a scan pays nothing."""
    if tracer is tracing.OFF:
        return application

    async def with_span(scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_and_remember(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with tracing.span(tracer, "scan") as span:
            await application(scope, receive, send_and_remember)
            method = scope["method"] if scope["method"] in {"GET", "HEAD"} else "other"
            span.set_attributes({"method": method, "status": status})

    return with_span
