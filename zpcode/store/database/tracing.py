"""Spans of SQL statements: their text with placeholders, never a value."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Engine, event

from zpcode.telemetry.tracing import OFF, Tracing

_OPEN: Final = "zpcode_spans"
_LONGEST: Final = 2000


def trace(engine: Engine, tracing: Tracing) -> None:
    """Record every statement of an engine. Where tracing is off the engine is left as it is."""
    if tracing is OFF:
        return

    def begin(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        context = tracing.span(statement.split(None, 1)[0].upper() if statement.strip() else "SQL")
        span = context.__enter__()
        span.note({"db.system.name": "postgresql", "db.query.text": statement[:_LONGEST]})
        connection.info.setdefault(_OPEN, []).append(context)

    def end(connection: Any, *_: Any) -> None:
        connection.info[_OPEN].pop().__exit__(None, None, None)

    def fail(context: Any) -> None:
        spans = [] if context.connection is None else context.connection.info.get(_OPEN, [])
        if spans:
            error = context.original_exception
            spans.pop().__exit__(type(error), error, error.__traceback__)

    event.listen(engine, "before_cursor_execute", begin)
    event.listen(engine, "after_cursor_execute", end)
    event.listen(engine, "handle_error", fail)
