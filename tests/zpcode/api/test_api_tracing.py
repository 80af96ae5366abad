"""Spans of requests and their SQL statements: the attributes they have and must not have."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from tests.support.authority import Tenants, as_
from tests.support.patience import eventually
from zpcode.api.http.context import Authority
from zpcode.app import serve
from zpcode.store.database.tracing import trace
from zpcode.telemetry import tracing

TELLTALE = "telltale7731"


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """Where spans end up."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(kept: InMemorySpanExporter) -> Iterator[Tracer]:
    """A tracer that records everything."""
    traces = tracing.recorded("authority", SimpleSpanProcessor(kept))
    yield traces.tracer
    traces.close()


@pytest.fixture
def app(here: Authority, tracer: Tracer) -> FastAPI:
    """The application, traced."""
    trace(here.engine, tracer)
    return serve(here, tracer=tracer)


def _of_route(kept: InMemorySpanExporter, name: str) -> ReadableSpan | None:
    return next((span for span in kept.get_finished_spans() if span.name == name), None)


def test_a_request_is_a_span_and_its_statements_are_its_children(
    http: httpx.Client, world: Tenants, kept: InMemorySpanExporter
) -> None:
    kept.clear()
    assert http.get(f"/v1/batches/{world.my_batch}", headers=as_(world.mine)).status_code == 200
    request = eventually(lambda: _of_route(kept, "GET /v1/batches/{number}"))
    assert request.attributes is not None
    assert request.context is not None
    assert (request.attributes["status"], request.attributes["method"]) == (200, "GET")
    assert request.resource.attributes["service.name"] == "zpcode-authority"
    parent = request.context.span_id
    children = [span for span in kept.get_finished_spans() if span.parent is not None and span.parent.span_id == parent]
    texts = [str(dict(span.attributes or {})["db.query.text"]) for span in children]
    assert any("FROM batch" in text for text in texts)
    assert {span.name for span in children} >= {"SELECT"}


def test_no_caller_address_code_or_value_stands_in_a_span(
    http: httpx.Client, world: Tenants, kept: InMemorySpanExporter
) -> None:
    headers = as_(world.mine) | {"User-Agent": TELLTALE, "X-Forwarded-For": "198.51.100.44"}
    http.get(f"/v1/batches/{TELLTALE}?after={TELLTALE}", headers=headers)
    http.get(f"/v1/batches/{world.my_batch}", headers=headers)
    http.post("/v1/batches", json={"level": "item", "gtin": TELLTALE, "quantity": 1}, headers=headers)
    eventually(lambda: _of_route(kept, "GET /v1/batches/{number}"))
    texts = [
        f"{span.name} {dict(span.attributes or {})} {span.status.description}" for span in kept.get_finished_spans()
    ]
    assert len(texts) > 5
    for secret in (TELLTALE, "198.51.100", world.mine, world.mine.split("_")[1], world.my_uscc, "127.0.0.1"):
        assert not [text for text in texts if secret in text], secret


def test_a_statement_that_fails_ends_its_span_with_the_kind_of_error(here: Authority, tracer: Tracer, kept: InMemorySpanExporter) -> None:  # fmt: skip
    trace(here.engine, tracer)
    with here.engine.connect() as connection:
        for statement in ("SELECT 1/0", f"SELECT {TELLTALE}"):
            with pytest.raises(Exception, match=r"division|column"):
                connection.exec_driver_sql(statement)
            connection.rollback()
        connection.exec_driver_sql("SELECT 2")
    spans = [span for span in kept.get_finished_spans() if "SELECT" in span.name]
    described = [span.status.description for span in spans if span.status.description]
    assert described == ["DivisionByZero", "UndefinedColumn"]
    assert all(span.end_time for span in spans)
    assert not spans[-1].parent, "the span before it was left"
