"""Scans as spans, where tracing is on: method and status, never a path, an address or a user agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from opentelemetry.trace import Tracer

from scanweb.http.exchange import Receive, Scope, Send
from zpcode.telemetry import tracing

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


def traced(answer: Answer, tracer: Tracer) -> Answer:
    """`answer` with a span around it; where tracing is off `answer` itself, so that a scan pays nothing."""
    if tracer is tracing.OFF:
        return answer

    async def with_span(scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_and_remember(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with tracing.span(tracer, "scan") as span:
            await answer(scope, receive, send_and_remember)
            method = scope["method"] if scope["method"] in {"GET", "HEAD"} else "other"
            span.set_attributes({"method": method, "status": status})

    return with_span
