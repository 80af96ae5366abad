"""Hostile inputs: no answer is a 5xx, and each refusal is a problem document."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.api_routes import PUBLIC, all_routes, requests, send
from tests.support.authority import Tenants, as_
from tests.support.patience import eventually

NUL, SURROGATE, LONG = "a\x00b", "\ud800", "长" * 3000
VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    10**40,
    1.5,
    "",
    NUL,
    SURROGATE,
    LONG,
    "\u202e",
    "'; --",
    [],
    {},
    [[]],
    {"zh": NUL},
]
RAW = [
    b"", b"{", b"null", b"[]", b'"x"', b"1", b"\xff\xfe", b"\x00", b"{}" * 10, b'{"a":' * 9000 + b"1" + b"}" * 9000,
    b"[" * 60000, b'{"quantity":' + b"9" * 60000 + b"}", b'{"quantity":NaN}', b'{"quantity":1e999}', b'{"gtin":"\\ud800"}',
]  # fmt: skip


def _is_a_problem(answer: httpx.Response) -> bool:
    return (
        answer.headers["Content-Type"] == "application/problem+json" and answer.json()["status"] == answer.status_code
    )


def _bodies(world: Tenants) -> Iterator[tuple[tuple[str, str], dict[str, object]]]:
    for route, sent in requests(world).items():
        if sent.json is not None:
            yield route, sent.json
    yield ("POST", "/v1/status-changes"), {
        "scope": "range", "target": str(world.my_batch), "action": "flag", "reason": "cloning-suspected",
        "first": 0, "last": 1, "note": {"zh": "x"}, "notice": "x", "legal_basis": "x",
        "effective_at": "2026-11-22T00:00:00Z",
    }  # fmt: skip
    yield ("POST", "/v1/batches"), {
        "level": "lot", "gtin": world.my_gtin, "quantity": 5, "lot": "L9", "production_date": "2026-11-20",
        "expiry_date": "2027-11-20", "format": "csv", "activation": "manual",
    }  # fmt: skip


@pytest.mark.proof
def test_no_value_of_any_member_breaks_anything(http: httpx.Client, world: Tenants) -> None:
    """Every member of every body, replaced by each of the values in turn."""
    keys = as_(world.operator) | {"Content-Type": "application/json"}
    for (method, path), body in _bodies(world):
        for member in [*body, "unknown"]:
            for step, value in enumerate(VALUES):
                content = json.dumps(body | {member: value}).encode()
                own = {"Idempotency-Key": f"{member}-{step}"}
                answer = http.request(method, path, content=content, headers=keys | own)
                assert answer.status_code < 500, (path, member, value)
                assert answer.status_code < 300 or _is_a_problem(answer), (path, member, value)


def test_no_body_of_any_bytes_breaks_anything(http: httpx.Client, world: Tenants) -> None:
    """Not JSON, not UTF-8, too deep, too many digits."""
    for (method, path), sent in requests(world).items():
        if method != "POST" or path.endswith("activation"):
            continue
        for raw in RAW:
            keys = as_(world.operator) | {"Content-Type": "application/json", "Idempotency-Key": "x"}
            answer = http.request(method, sent.path, content=raw, headers=keys)
            assert 400 <= answer.status_code < 500, (path, raw[:20])
            assert _is_a_problem(answer), (path, raw[:20])


@pytest.mark.parametrize("value", ["%00", "%ff%fe", "%F0%9F%92%A9", "9" * 400, "-1", "0", "1.5", "..", "a%2Fb", "%27", "*", "999999999999"])  # fmt: skip
def test_no_path_or_parameter_breaks_anything(http: httpx.Client, world: Tenants, value: str) -> None:
    """Hostile values in every part of every path and in every parameter."""
    for method, template in requests(world):
        if "{" in template:
            path = template[: template.index("{")] + value + template[template.index("}") + 1 :]
            answer = http.request(method, path, headers=as_(world.operator))
            assert answer.status_code in {200, 404, 405, 415}, path  # a body of no type, where one is needed
            assert answer.status_code == 200 or _is_a_problem(answer), path
        elif method == "GET":
            for name in ("after", "limit", "target", "scope"):
                address = f"{template}?{name}={value}&{'scope=batch' if name == 'target' else 'x=1'}"
                answer = http.get(address, headers=as_(world.operator))
                assert answer.status_code < 500 or template == "/readyz", address


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 201])
def test_an_idempotency_key_is_visible_ascii(http: httpx.Client, world: Tenants, key: str) -> None:
    """1 to 200 characters."""
    order = {"level": "item", "gtin": world.my_gtin, "quantity": 5}
    header = [(b"Idempotency-Key", key.encode("latin-1")), (b"Authorization", f"Bearer {world.mine}".encode())]
    answer = http.post("/v1/batches", json=order, headers=header)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"] == "Idempotency-Key"


@pytest.mark.parametrize(
    "sent",
    ["", "Bearer", "Basic YTpi", "Bearer zpk_", "Bearer \xff", "Bearer " + "A" * 5000,
     "Bearer zpk_000000000000_" + "A" * 52],
)  # fmt: skip
def test_anything_that_is_no_key_gets_the_same_401(http: httpx.Client, sent: str) -> None:
    """A missing, malformed or unknown key gets the same answer."""
    answer = http.get("/v1/batches", headers=[(b"Authorization", sent.encode("latin-1"))])
    assert answer.status_code == 401
    assert answer.json()["type"] == "/problems/unauthenticated"


def test_every_method_on_every_route_is_answered(http: httpx.Client, app: FastAPI, world: Tenants) -> None:
    """405 with Allow for other methods; OPTIONS too, because there is no CORS."""
    for _, path in all_routes(app):
        allowed = {method for method, other in all_routes(app) if other == path}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "REPORT"} - allowed:
            answer = http.request(method, path.replace("{number}", "1"), headers=as_(world.operator))
            assert answer.status_code == 405, (method, path)
            assert _is_a_problem(answer)
            assert allowed & set(answer.headers["Allow"].split(", ")), (method, path)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/docs", "/redoc", "/v1/batches/", "/v2/batches", "/%00", "//v1/batches", "/v1/%2e%2e/healthz"])  # fmt: skip
def test_an_unknown_address_is_a_problem_document(http: httpx.Client, path: str) -> None:
    """404, never a redirect."""
    answer = http.get(path)
    assert answer.status_code == 404
    assert _is_a_problem(answer)


def test_a_body_is_bounded_while_it_streams(http: httpx.Client, world: Tenants) -> None:
    """413 for a too large body, with Content-Length and without."""

    def streamed() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    keys = as_(world.mine) | {"Content-Type": "application/json", "Idempotency-Key": "x"}
    for content in (b" " * (64 * 1024 + 1), streamed()):
        answer = http.post("/v1/batches", content=content, headers=keys)
        assert answer.status_code == 413
        assert answer.json()["type"] == "/problems/body-too-large"


def test_a_body_of_exactly_the_bound_is_read(http: httpx.Client, world: Tenants) -> None:
    """64 KiB is allowed, one byte more is not."""
    order = json.dumps({"level": "item", "gtin": world.my_gtin, "quantity": 5}).encode()
    keys = as_(world.mine) | {"Content-Type": "application/json", "Idempotency-Key": "x"}
    assert http.post("/v1/batches", content=order.ljust(64 * 1024), headers=keys).status_code == 202
    assert http.post("/v1/batches", content=order.ljust(64 * 1024 + 1), headers=keys).status_code == 413


def test_an_upload_without_a_valid_key_is_not_read(base_url: str, world: Tenants) -> None:
    """The response comes before most of the file was sent: only an operator's file is read."""
    host, port = base_url.removeprefix("http://").split(":")
    for key, status in ((world.mine, b"403"), ("none", b"401")):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = (
                f"POST /v1/registry/imports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {key}\r\nContent-Length: 30000000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"{" * 1000)
            assert connection.recv(4096).split(b" ")[1] == status


def test_a_client_that_disconnects_is_no_error(
    base_url: str, http: httpx.Client, caplog: pytest.LogCaptureFixture, world: Tenants
) -> None:
    """It is noted, not reported as a crash."""
    host, port = base_url.removeprefix("http://").split(":")
    with caplog.at_level(logging.INFO):
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            head = (
                f"POST /v1/registry/imports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {world.operator}\r\nContent-Length: 30000000\r\n\r\n"
            )
            connection.sendall(head.encode() + b"{" * 1000)
        eventually(lambda: [one for one in caplog.records if getattr(one, "route", "").endswith("imports")])
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert http.get("/healthz").status_code == 200


def test_an_upload_is_bounded_at_32_mebibytes(http: httpx.Client, world: Tenants) -> None:
    """And at nothing less."""
    keys = as_(world.operator) | {"Content-Type": "application/json"}
    fitting = http.post("/v1/registry/imports", content=b"{}".ljust(32 << 20), headers=keys)
    assert (fitting.status_code, fitting.json()["errors"][0]["reason"]) == (422, "empty")
    larger = http.post("/v1/registry/imports", content=b" " * ((32 << 20) + 1), headers=keys)
    assert larger.status_code == 413


@pytest.mark.parametrize("headers", [{"Content-Type": "text/plain"}, {"Content-Type": "application/jsonx"}, {}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}])  # fmt: skip
def test_a_body_of_another_type_is_refused(http: httpx.Client, world: Tenants, headers: dict[str, str]) -> None:
    """415, naming the type that is taken."""
    for (method, path), sent in requests(world).items():
        if sent.whose != PUBLIC and method == "POST" and not path.endswith("activation"):
            content = sent.content or json.dumps(sent.json).encode()
            own = as_(world.operator) | {"Idempotency-Key": "x"} | headers
            answer = http.request(method, sent.path, content=content, headers=own)
            assert answer.status_code == 415, path
            assert "application/json" in answer.json()["detail"]


def test_the_walk_of_hostile_values_starts_from_what_is_right(http: httpx.Client, world: Tenants) -> None:
    """Otherwise it would prove nothing."""
    for (method, path), sent in requests(world).items():
        answer = send(http, method, sent, as_(world.operator))
        assert answer.status_code < 300 or (path.endswith(("codes", "activation")) and answer.status_code == 409), path
