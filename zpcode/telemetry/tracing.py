"""Spans of requests, SQL statements and loops of the worker, through the API of OpenTelemetry.

Traced code takes a `Tracer` as its parameter `tracer`. Without a collector this is `OFF`, the API's own tracer that
records nothing. With a collector, `start` makes one on OpenTelemetry's SDK: `pip install 'zpcode[otel]'`.

The spans are written here and not by an instrumentation package: such a package records addresses, user agents and whole
paths, and a path contains a code. A span holds what the log holds: method, route template, status. For the same reason
the provider is not registered globally: no library may start to record by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.trace import NoOpTracer, Span, Status, StatusCode, Tracer

from zpcode.errors import Text, Unavailable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

EXPORT_SECONDS: Final = 1.0
"""A collector that needs longer than this for a batch of spans loses it; the end of the process waits as long."""
OFF: Final[Tracer] = NoOpTracer()


class Tracing(NamedTuple):
    """The tracer of a process, and the function that sends the remaining spans when the process ends."""

    tracer: Tracer
    close: Callable[[], None]


def start(service: str, endpoint: str, ratio: float) -> Tracing:
    """Trace `service` and send its spans to an OTLP collector over HTTP (`http://127.0.0.1:4318/v1/traces`).

    An empty endpoint gives `OFF`. `ratio` (0 … 1) is the share of traces that is recorded. Raises Unavailable if the
    optional dependency is not installed.
    """
    if not endpoint:
        return Tracing(OFF, _nothing_to_send)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only if on
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable(
            Text(
                "ZPCODE_TRACES 需要可选组件，请执行 pip install 'zpcode[otel]'",
                "ZPCODE_TRACES needs an extra: pip install 'zpcode[otel]'",
            )
        ) from error
    return recorded(service, BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)), ratio)


def recorded(service: str, processor: SpanProcessor, ratio: float = 1.0) -> Tracing:
    """Trace `service` and hand its spans to a processor of OpenTelemetry's SDK."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - only where tracing is on
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased  # noqa: PLC0415

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource.create({"service.name": f"zpcode-{service}"}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    return Tracing(provider.get_tracer("zpcode"), provider.shutdown)


@contextmanager
def span(tracer: Tracer, name: str) -> Iterator[Span]:
    """Make a span current until the end of the block. Of an error only the class is recorded: its text may name a code."""
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as current:
        try:
            yield current
        except BaseException as error:
            current.set_status(failed(error))
            raise


def failed(error: BaseException) -> Status:
    """The status of a span that an error ended: the name of its class and nothing of its text."""
    return Status(StatusCode.ERROR, type(error).__name__)


def _nothing_to_send() -> None:
    """Close a tracer that records nothing."""
