"""Scans as spans, where tracing is on: method and status, never a path, an address or a user agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from scanweb.http.exchange import Receive, Scope, Send
from zpcode.telemetry.tracing import OFF, Tracing

Answer = Callable[[Scope, Receive, Send], Awaitable[None]]


def traced(answer: Answer, tracing: Tracing) -> Answer:
    """`answer` with a span around it; where tracing is off `answer` itself, so that a scan pays nothing."""
    if tracing is OFF:
        return answer

    async def noted(scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def noting(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with tracing.span("scan") as span:
            await answer(scope, receive, noting)
            span.note({"method": scope["method"] if scope["method"] in {"GET", "HEAD"} else "other", "status": status})

    return noted
