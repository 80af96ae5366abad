"""Every refusal is a problem document in both languages, and a crash does not show its text."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.authority import Tenants, as_, issued
from tests.support.patience import eventually
from zpcode.api.http import middleware, problems
from zpcode.api.http.context import Authority
from zpcode.errors import DatabaseBehind, KeyringError, SignerError, SignerUnavailable, Text, Unavailable, ZpError
from zpcode.store.database.session import connect
from zpcode.wire import security_headers
from zpcode.wire.link import parse


def _chinese(text: str) -> bool:
    return any("一" <= character <= "鿿" for character in text)


def _refusals(world: Tenants) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """A request for each kind of problem that a caller can cause."""
    json = {"Content-Type": "application/json"}
    mine, operator = as_(world.mine), as_(world.operator)
    order = {"level": "item", "gtin": world.my_gtin, "quantity": 5}
    return {
        "malformed-request": ("POST", "/v1/batches", {"content": b"{", "headers": mine | json}),
        "unauthenticated": ("GET", "/v1/batches", {}),
        "forbidden": ("GET", "/v1/api-keys", {"headers": mine}),
        "not-found": ("GET", "/v1/batches/999", {"headers": mine}),
        "method-not-allowed": ("PUT", "/v1/batches", {"headers": mine}),
        "conflict": ("POST", f"/v1/batches/{world.my_batch}/activation", {"headers": mine}),
        "not-ready": ("GET", f"/v1/batches/{world.my_batch}/codes", {"headers": mine}),
        "body-too-large": ("POST", "/v1/batches", {"content": b" " * 70000, "headers": mine | json}),
        "unsupported-media-type": ("POST", "/v1/batches", {"content": b"{}", "headers": mine}),
        "unsatisfiable-range": (
            "GET", f"/v1/batches/{world.their_batch}/codes", {"headers": as_(world.theirs) | {"Range": "bytes=99999999-"}},
        ),
        "invalid-request": ("POST", "/v1/batches", {"json": order, "headers": mine}),
        "refused": (
            "POST", "/v1/batches", {"json": order | {"quantity": 0}, "headers": mine | {"Idempotency-Key": "x"}},
        ),
        "import-refused": ("POST", "/v1/registry/imports", {"content": b"{}", "headers": operator | json}),
    }  # fmt: skip


BROUGHT_ABOUT = {
    "error",
    "malformed-code",
    "too-many-requests",
    "signer-refused",
    "keyring",
    "signer-unavailable",
    "unavailable",
    "database-behind",
    "file-removed",
}


def test_every_refusal_comes_in_both_languages(http: httpx.Client, here: Authority, world: Tenants) -> None:
    """Title, detail and findings in the requested language, and always in both languages beside it."""
    issued(here, world.their_batch)
    for slug, (method, path, more) in _refusals(world).items():
        own = more.pop("headers", {})
        answers = {
            language: http.request(method, path, headers=own | {"Accept-Language": language}, **more)
            for language in ("en", "zh-CN")
        }
        for language, answer in answers.items():
            problem = answer.json()
            kind = problems.KINDS[slug]
            assert answer.status_code == kind.status == problem["status"], (slug, answer.text)
            assert problem["type"] == f"/problems/{slug}"
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.headers["Content-Language"] == language
            assert answer.headers["Vary"] == "Accept-Language"
            assert answer.headers["Cache-Control"] == "no-store"
            tag = language[:2]
            for texts in (problem["languages"], *(one["languages"] for one in problem["errors"])):
                assert _chinese(str(texts["zh"])), slug
                assert not _chinese(str(texts["en"])), slug
            assert {"title": problem["title"], "detail": problem["detail"]} == problem["languages"][tag]
            assert all(one["detail"] == one["languages"][tag] for one in problem["errors"])


def test_every_kind_of_problem_is_brought_about_by_a_test(world: Tenants) -> None:
    """Every kind is in the table above or in the tests of failures below."""
    assert set(_refusals(world)) | BROUGHT_ABOUT == set(problems.KINDS)


def test_every_kind_of_problem_explains_itself(http: httpx.Client) -> None:
    """The address in `type` is public, in both languages."""
    for kind in problems.KINDS.values():
        page = http.get(kind.type).json()
        assert (page["type"], page["status"]) == (kind.type, kind.status)
        assert _chinese(page["title"]["zh"])
        assert _chinese(page["advice"]["zh"])
        assert page["advice"]["en"]
    assert http.get("/problems/none").status_code == 404


def test_every_finding_is_in_one_answer(http: httpx.Client, world: Tenants) -> None:
    """By schema: each place with a pointer into the body. By rule: each reason."""
    body = {"level": "box", "gtin": 5, "quantity": "5", "production_date": "20.11.2026", "colour": "red"}
    answer = http.post("/v1/batches", json=body, headers=as_(world.mine) | {"Idempotency-Key": "x"})
    reasons = {one["pointer"]: one["reason"] for one in answer.json()["errors"]}
    assert reasons == {
        "/level": "choice",
        "/gtin": "type",
        "/quantity": "type",
        "/production_date": "format",
        "/colour": "unknown_member",
    }
    order = {"level": "lot", "gtin": world.my_gtin, "quantity": 0, "expiry_date": "2020-01-01", "format": "xls"}
    answer = http.post("/v1/batches", json=order, headers=as_(world.mine) | {"Idempotency-Key": "x"})
    assert [one["reason"] for one in answer.json()["errors"]] == ["quantity", "format", "dates", "lot"]


def test_a_request_has_one_id_everywhere(http: httpx.Client, caplog: pytest.LogCaptureFixture, world: Tenants) -> None:
    """The same id in header, problem and log line; another request has another id."""
    with caplog.at_level(logging.INFO, "zpcode.api.access"):
        answer = http.get("/v1/batches/999?x=secret", headers=as_(world.mine))
        eventually(lambda: any(record.name == "zpcode.api.access" for record in caplog.records))  # logged after it left
    id_ = answer.headers["X-Request-Id"]
    assert answer.json()["instance"] == f"urn:uuid:{id_}"
    (line,) = [vars(record) for record in caplog.records if record.name == "zpcode.api.access"]
    assert (line["request_id"], line["method"], line["status"]) == (id_, "GET", 404)
    assert line["route"] == "/v1/batches/{number}"
    assert line["caller"].startswith(f"enterprise:{world.my_uscc}:")
    assert "secret" not in str(line)
    assert world.mine not in str(line)
    assert http.get("/healthz").headers["X-Request-Id"] != id_


def test_requests_without_a_key_write_a_bounded_number_of_lines(
    app: FastAPI, http: httpx.Client, caplog: pytest.LogCaptureFixture, world: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone can send any number. Each is counted in the metrics, and requests with a key are always logged."""
    monkeypatch.setattr(middleware, "UNKNOWN_LINES", 1)
    app.middleware_stack = None  # it is made with the first request, and has been made by other tests
    with caplog.at_level(logging.INFO, "zpcode.api.access"):
        for _ in range(20):
            http.get("/healthz")
        for _ in range(3):
            http.get("/v1/products", headers=as_(world.mine))
        eventually(lambda: sum("/v1/products" in str(vars(one)) for one in caplog.records) == 3)
    lines = [vars(record) for record in caplog.records if record.name == "zpcode.api.access"]
    assert [line["route"] for line in lines] == ["/healthz", *["/v1/products"] * 3]
    assert [line.get("unlogged") for line in lines] == [None, 19, None, None]


def test_a_crash_does_not_show_its_text(http: httpx.Client, app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    """500 with the request id; the traceback is in the log under the same id."""

    @app.get("/crash")
    def crash() -> None:
        raise RuntimeError("the secret is 12345")

    with caplog.at_level(logging.ERROR, "zpcode.api.access"):
        answer = http.get("/crash")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/error"
    assert "12345" not in answer.text
    assert "Traceback" not in answer.text
    (record,) = [one for one in caplog.records if one.exc_info]
    assert vars(record)["request_id"] == answer.headers["X-Request-Id"]


def test_a_malformed_code_is_refused_with_its_reason(http: httpx.Client, app: FastAPI) -> None:
    """Wherever a route reads a code."""

    @app.get("/read")
    def read() -> None:
        parse("/01/123")

    answer = http.get("/read")
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/malformed-code")
    assert answer.json()["errors"][0]["reason"] == "gtin"


@pytest.mark.parametrize("kind", [SignerError, SignerUnavailable, Unavailable, DatabaseBehind, KeyringError])
def test_a_part_that_is_down_is_named(http: httpx.Client, app: FastAPI, kind: type[ZpError]) -> None:
    """And when to try again."""

    @app.get("/down")
    def down() -> None:
        raise kind(Text("坏了", "broken"))

    answer = http.get("/down")
    assert answer.status_code == problems.KINDS[kind.slug].status
    assert answer.json()["type"] == f"/problems/{kind.slug}"
    assert (answer.status_code == 503) == ("Retry-After" in answer.headers)


def test_security_headers_are_on_every_answer(http: httpx.Client, world: Tenants) -> None:
    """On successes and refusals; there is no Server header."""
    for path in ("/healthz", "/v1/batches", "/nowhere", "/openapi.json", f"/v1/batches/{world.my_batch}"):
        headers = http.get(path, headers={"Origin": "https://elsewhere.example"}).headers
        assert {name: headers[name] for name in security_headers.API} == dict(security_headers.API)
        assert headers["Cache-Control"] == "no-store"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_without_the_database_every_route_says_unavailable(
    here: Authority, world: Tenants, app: FastAPI, http: httpx.Client
) -> None:
    """503, and readiness says so; the process itself is healthy."""
    gone = connect("postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")
    app.state.authority = replace(here, engine=gone)
    answer = http.get("/v1/batches", headers=as_(world.mine))
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/unavailable")
    ready = http.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"ready": False})
    assert http.get("/healthz").status_code == 200
    gone.dispose()
