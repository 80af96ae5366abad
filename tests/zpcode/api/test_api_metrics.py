"""Metrics of the API: requests by route and status, with labels that a caller cannot invent."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from tests.support.authority import Tenants, as_
from tests.support.exposed import Exposed
from tests.support.patience import eventually
from zpcode.api.http.context import Authority
from zpcode.api.http.metrics import ApiMetrics
from zpcode.app import serve


@pytest.fixture
def metrics() -> ApiMetrics:
    """What this test's API counts in."""
    return ApiMetrics()


@pytest.fixture
def app(here: Authority, metrics: ApiMetrics) -> FastAPI:
    """The application, counting there."""
    return serve(here, metrics=metrics)


def _count(metrics: ApiMetrics, method: str, route: str, status: int) -> float:
    scrape = Exposed.of(metrics.registry)
    return scrape.value("zpcode_api_requests_total", method=method, route=route, status=str(status))


def test_requests_are_counted_by_template_and_timed(http: httpx.Client, world: Tenants, metrics: ApiMetrics) -> None:
    for number in (world.my_batch, world.my_batch, 99_999):
        http.get(f"/v1/batches/{number}", headers=as_(world.mine))
    http.get("/v1/batches")
    assert _count(metrics, "GET", "/v1/batches/{number}", 200) == 2
    assert _count(metrics, "GET", "/v1/batches/{number}", 404) == 1
    assert _count(metrics, "GET", "/v1/batches", 401) == 1
    scrape = Exposed.of(metrics.registry)
    assert scrape.value("zpcode_api_request_seconds_count", route="/v1/batches/{number}") == 3


def test_a_text_of_the_caller_becomes_no_label(http: httpx.Client, world: Tenants, metrics: ApiMetrics) -> None:
    for number in range(20):
        http.request("PROPFIND", f"/nowhere/{number}", headers=as_(world.mine))
    eventually(lambda: _count(metrics, "other", "", 404) == 20)
    assert not [
        value for value in Exposed.of(metrics.registry).label_values() if "PROPFIND" in value or "nowhere" in value
    ]


def test_the_public_port_has_no_metrics(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 404
