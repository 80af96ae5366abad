"""Spans of scans and of the worker's turns; without tracing nothing of it is imported."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer

from keys.client import SignerClient
from scanweb.http.tracing import traced
from tests.support import scan_factories as make
from tests.support.code_folders import code_folder
from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Text, Unavailable
from zpcode.projection import client
from zpcode.services.batches import queue
from zpcode.store.database.session import connect
from zpcode.telemetry import tracing
from zpcode.telemetry.tracing import OFF
from zpcode.worker import Worker


@pytest.fixture
def kept() -> InMemorySpanExporter:
    """The exporter that keeps the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracer(kept: InMemorySpanExporter) -> Iterator[Tracer]:
    """A tracer that records everything."""
    traces = tracing.recorded("scan", SimpleSpanProcessor(kept))
    yield traces.tracer
    traces.close()


def _spans(kept: InMemorySpanExporter) -> list[tuple[str, dict[str, object]]]:
    return [(span.name, dict(span.attributes or {})) for span in kept.get_finished_spans()]


def test_a_scan_is_a_span_without_its_code(
    service: ScanService, registry: ScanAuthority, tracer: Tracer, kept: InMemorySpanExporter
) -> None:
    service.app.scan_app = traced(service.app.scan, tracer)
    assert "Verified" in service.get(registry.item()).text, "the answer is the same"
    service.get("/no/code")
    service.get(registry.item(), method="OPTIONS")
    assert _spans(kept) == [
        ("scan", {"method": "GET", "status": 200}),
        ("scan", {"method": "GET", "status": 400}),
        ("scan", {"method": "other", "status": 204}),
    ]


def test_off_a_scan_goes_through_nothing_more(service: ScanService) -> None:
    assert service.app.tracing.tracer is OFF
    assert service.app.scan_app is service.app.scan


def test_a_turn_of_the_worker_is_a_span_also_when_it_fails(
    addresses: ServerAddresses, tmp_path: Path, tracer: Tracer, kept: InMemorySpanExporter
) -> None:
    redis, engine = client.connect(addresses.redis), connect(addresses.database)
    worker = Worker(addresses.database, engine, redis, redis, SignerClient(tmp_path), queue.IssueQueue(addresses.database), code_folder(tmp_path), tracer=tracer)  # fmt: skip
    outcomes = iter([Unavailable(Text("停", "away")), None])

    def step() -> None:
        if (outcome := next(outcomes)) is not None:
            raise outcome
        worker.stop.set()

    worker.repeat(step, 0.0)
    assert [(span.name, span.status.description) for span in kept.get_finished_spans()] == [("step", "Unavailable"), ("step", None)]  # fmt: skip


def test_off_nothing_that_traces_is_imported() -> None:
    """redis-py imports the SDK's metrics itself where the extra is installed, but none of its tracing."""
    code = (
        "import sys, scanweb.app, zpcode.app, zpcode.worker;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_on_without_the_extra_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(Unavailable, match=r"zpcode\[otel\]"):
        tracing.start("scan", "http://127.0.0.1:1/v1/traces", 1.0)


def test_a_collector_that_is_away_costs_no_answer(addresses: ServerAddresses, registry: ScanAuthority) -> None:
    settings = make.settings(addresses, registry.room, traces="http://127.0.0.1:1/v1/traces", trace_ratio=1.0)
    with ScanService(settings) as service:
        assert service.verdict(registry.item()) == "verified"
