"""Spans of SQL statements: their text with placeholders, never a value."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.trace import Tracer
from sqlalchemy import Engine, event

from zpcode.telemetry import tracing

_OPEN: Final = "zpcode_spans"
_LONGEST: Final = 2000


def trace(engine: Engine, tracer: Tracer) -> None:
    """Record a span for every statement of an engine. Does nothing if tracing is off."""
    if tracer is tracing.OFF:
        return

    def begin(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        name = statement.split(None, 1)[0].upper() if statement.strip() else "SQL"
        about = {"db.system.name": "postgresql", "db.query.text": statement[:_LONGEST]}
        connection.info.setdefault(_OPEN, []).append(tracer.start_span(name, attributes=about))

    def end(connection: Any, *_: Any) -> None:
        connection.info[_OPEN].pop().end()

    def fail(context: Any) -> None:
        spans = [] if context.connection is None else context.connection.info.get(_OPEN, [])
        if spans:
            span = spans.pop()
            span.set_status(tracing.failed(context.original_exception))
            span.end()

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
