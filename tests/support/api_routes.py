"""Every route of the application, nested routers included, and a valid request for each.

A new route without an entry in `requests` fails a test, so that the tests of all routes stay complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from tests.support.authority import Tenants
from tests.support.pictures import jpeg
from tests.support.registry_data import as_json, registry

PUBLIC, ANYBODY, OPERATOR, OFFICE = "public", "anybody", "operator", "office"


@dataclass(frozen=True, slots=True)
class Sent:
    """A valid request of the first enterprise. `whose` says who may send it; `owned`: it names a record of that enterprise."""

    whose: str
    path: str
    owned: bool = False
    json: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)


def routes(candidates: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """(method, path) of every route; without HEAD, which only the OpenAPI document lists."""
    for route in candidates:
        nested = getattr(route, "original_router", None) or getattr(route, "app", None)
        if isinstance(route, Route):
            yield from ((method, route.path) for method in route.methods or () if method != "HEAD")
        elif nested is not None:
            yield from routes(nested.routes)
        else:
            raise AssertionError(route)


def all_routes(app: FastAPI) -> set[tuple[str, str]]:
    """The routes of an application."""
    return set(routes(app.routes))


def requests(world: Tenants, *, theirs: bool = False) -> dict[tuple[str, str], Sent]:
    """A valid request for every route; with `theirs` it names what belongs to the second enterprise."""
    gtin, uscc = (world.their_gtin, world.their_uscc) if theirs else (world.my_gtin, world.my_uscc)
    complaint = world.their_complaint if theirs else world.my_complaint
    batch = world.their_batch if theirs else world.my_batch
    of_batch, of_lot = world.their_events if theirs else world.my_events
    events = {"events": [{"kind": "inspected", "at": "2026-10-09", "document": "QC-1"}]}
    order = {"level": "item", "gtin": gtin, "quantity": 5}
    decision = {"scope": "batch", "target": str(batch), "action": "flag", "reason": "cloning-suspected"}
    return {
        ("GET", "/openapi.json"): Sent(PUBLIC, "/openapi.json"),
        ("GET", "/healthz"): Sent(PUBLIC, "/healthz"),
        ("GET", "/readyz"): Sent(PUBLIC, "/readyz"),
        ("GET", "/problems/{slug}"): Sent(PUBLIC, "/problems/refused"),
        ("GET", "/.well-known/zpcode-keyring.json"): Sent(PUBLIC, "/.well-known/zpcode-keyring.json"),
        ("GET", "/v1/notices"): Sent(PUBLIC, "/v1/notices"),
        ("POST", "/v1/batches"): Sent(ANYBODY, "/v1/batches", True, order, headers={"Idempotency-Key": "walk"}),
        ("GET", "/v1/batches"): Sent(ANYBODY, "/v1/batches"),
        ("GET", "/v1/batches/{number}"): Sent(ANYBODY, f"/v1/batches/{batch}", True),
        ("GET", "/v1/batches/{number}/codes"): Sent(
            ANYBODY, f"/v1/batches/{batch}/codes", True, params={"reason": "the printer lost its file"}
        ),
        ("POST", "/v1/batches/{number}/activation"): Sent(ANYBODY, f"/v1/batches/{batch}/activation", True),
        ("GET", "/v1/complaints"): Sent(ANYBODY, "/v1/complaints"),
        ("GET", "/v1/complaints/{number}"): Sent(ANYBODY, f"/v1/complaints/{complaint}", True),
        ("POST", "/v1/complaints/{number}/steps"): Sent(
            OFFICE, f"/v1/complaints/{complaint}/steps", True, {"step": "start"}
        ),
        ("GET", "/v1/complaints/{number}/photos/{position}"): Sent(
            OFFICE, f"/v1/complaints/{complaint}/photos/1", True
        ),
        ("POST", "/v1/batches/{number}/events"): Sent(ANYBODY, f"/v1/batches/{batch}/events", True, events),
        ("GET", "/v1/batches/{number}/events"): Sent(ANYBODY, f"/v1/batches/{batch}/events", True),
        ("POST", "/v1/batches/{number}/events/{event}/withdraw"): Sent(
            ANYBODY, f"/v1/batches/{batch}/events/{of_batch}/withdraw", True, {"reason": "another batch"}
        ),
        ("POST", "/v1/lots/{gtin}/{lot}/events"): Sent(ANYBODY, f"/v1/lots/{gtin}/L-1/events", True, events),
        ("GET", "/v1/lots/{gtin}/{lot}/events"): Sent(ANYBODY, f"/v1/lots/{gtin}/L-1/events", True),
        ("POST", "/v1/lots/{gtin}/{lot}/events/{event}/withdraw"): Sent(
            ANYBODY, f"/v1/lots/{gtin}/L-1/events/{of_lot}/withdraw", True, {"reason": "another lot"}
        ),
        ("GET", "/v1/products"): Sent(ANYBODY, "/v1/products"),
        ("PUT", "/v1/products/{gtin}/{which}"): Sent(
            ANYBODY, f"/v1/products/{gtin}/picture", True, content=jpeg(), headers={"Content-Type": "image/jpeg"}
        ),
        ("DELETE", "/v1/products/{gtin}/{which}"): Sent(ANYBODY, f"/v1/products/{gtin}/mark", True),
        ("GET", "/v1/products/{gtin}"): Sent(ANYBODY, f"/v1/products/{gtin}", True),
        ("GET", "/v1/enterprises"): Sent(ANYBODY, "/v1/enterprises"),
        ("POST", "/v1/status-changes"): Sent(ANYBODY, "/v1/status-changes", True, decision),
        ("GET", "/v1/status-changes"): Sent(
            ANYBODY, "/v1/status-changes", True, params={"scope": "batch", "target": str(batch)}
        ),
        ("POST", "/v1/registry/imports"): Sent(
            OPERATOR,
            "/v1/registry/imports",
            content=as_json(registry(1)),
            headers={"Content-Type": "application/json"},
            params={"dry_run": "true"},
        ),
        ("POST", "/v1/api-keys"): Sent(
            OPERATOR, "/v1/api-keys", json={"role": "enterprise", "subject": uscc, "label": "x"}
        ),
        ("GET", "/v1/api-keys"): Sent(OPERATOR, "/v1/api-keys"),
        ("DELETE", "/v1/api-keys/{key_id}"): Sent(OPERATOR, f"/v1/api-keys/{world.theirs.split('_')[1]}"),
    }


def send(http: httpx.Client, method: str, sent: Sent, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send one request."""
    return http.request(
        method,
        sent.path,
        json=sent.json,
        content=sent.content,
        params=sent.params,
        headers=sent.headers | (headers or {}),
    )
