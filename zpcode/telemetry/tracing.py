"""Where the time of a request or of a worker's turn goes: spans in OpenTelemetry's form, if somebody asks for them.

Off, nothing of OpenTelemetry's SDK is imported and a span is one shared object that does nothing. On, it needs
`pip install 'zpcode[otel]'`. Spans are ours and not those of an instrumentation package, because those note addresses,
user agents and whole paths: codes. What stands in one is what the log says: method, route template, status.

The provider is never made OpenTelemetry's global one, so that no library begins to note things by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from zpcode.errors import Text, Unavailable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

EXPORT_SECONDS: Final = 1.0
"""A collector that takes longer than this for a batch of spans gets none of them; a process's end waits as long."""
Note = str | int | float | bool


class TraceSpan(Protocol):
    """One piece of time."""

    def note(self, about: Mapping[str, Note], name: str = "") -> None:
        """Say more of it, and give it a better name where there is one by now."""
        ...


class Tracing(Protocol):
    """Where spans go."""

    def span(self, name: str) -> AbstractContextManager[TraceSpan]:
        """A span from here to the end of the block; a child of the one around it in this thread or task."""
        ...

    def close(self) -> None:
        """Send what is left."""
        ...


class _Nothing:
    """A span that is not recorded, and its own context."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def note(self, about: Mapping[str, Note], name: str = "") -> None:
        """Nothing."""


class _Off:
    def span(self, name: str) -> AbstractContextManager[TraceSpan]:
        """The same for everybody."""
        del name
        return _NOTHING

    def close(self) -> None:
        """There is nothing to send."""


_NOTHING: Final = _Nothing()
OFF: Final[Tracing] = _Off()


def start(service: str, endpoint: str, ratio: float) -> Tracing:
    """Spans of `service`, sent to an OTLP collector over HTTP (`http://127.0.0.1:4318/v1/traces`); `OFF` without one.

    `ratio` of all traces (0 … 1) is recorded. Raises Unavailable where the extra is not installed.
    """
    if not endpoint:
        return OFF
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only if on
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(
            Text(
                "ZPCODE_TRACES 需要可选组件：pip install 'zpcode[otel]'",
                "ZPCODE_TRACES needs an extra: pip install 'zpcode[otel]'",
            )
        ) from error
    return recorded(service, BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)), ratio)


def recorded(service: str, processor: SpanProcessor, ratio: float = 1.0) -> Tracing:
    """Spans of `service`, handed to a processor of OpenTelemetry's SDK."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where tracing is on
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": f"zpcode-{service}"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    return _Recorded(provider)


class _Recorded:
    def __init__(self, provider: Any) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("zpcode")

    @contextmanager
    def span(self, name: str) -> Iterator[TraceSpan]:
        """A recorded span; of an error that ends it only the kind is kept: its text may name a code."""
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as found:
            try:
                yield _Noted(found)
            except BaseException as error:
                found.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def close(self) -> None:
        """Send what is left, and stop."""
        self._provider.shutdown()


class _Noted:
    def __init__(self, span: Any) -> None:
        self._span = span

    def note(self, about: Mapping[str, Note], name: str = "") -> None:
        """Attributes, and the name."""
        self._span.set_attributes(dict(about))
        if name:
            self._span.update_name(name)
