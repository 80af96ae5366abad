"""The routes without a key, and what the OpenAPI document promises."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from keys.keyring import Keyring
from tests.support.api_routes import all_routes, requests, send
from tests.support.authority import Tenants, as_
from zpcode.api.http import problems
from zpcode.api.http.context import Authority
from zpcode.api.http.metrics import ApiMetrics
from zpcode.app import PublishedKeyring, _private_pages

METHODS = {"get", "post", "put", "patch", "delete"}


def test_the_keyring_is_published_as_the_root_key_signed_it(http: httpx.Client, here: Authority) -> None:
    """The bytes of the file, cacheable, and 304 for the same ETag."""
    answer = http.get("/.well-known/zpcode-keyring.json")
    published = here.keyring
    assert isinstance(published, PublishedKeyring)
    keyring, root = published._paths
    assert answer.content == keyring.read_bytes()
    assert len(list(Keyring.load(answer.content, root.read_bytes()))) == 1
    again = http.get("/.well-known/zpcode-keyring.json", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_missing_keyring_is_a_problem(http: httpx.Client, app: FastAPI, here: Authority) -> None:
    """503, and nothing else stops working."""
    published = here.keyring
    assert isinstance(published, PublishedKeyring)
    app.state.authority = replace(here, keyring=PublishedKeyring(here.exports.path / "none.json", published._paths[1]))
    answer = http.get("/.well-known/zpcode-keyring.json")
    assert (answer.status_code, answer.json()["type"]) == (503, "/problems/keyring")
    assert http.get("/readyz").json() == {"ready": True}
    assert private_readiness(app)[1]["parts"]["keyring"] == "down"
    assert http.get("/v1/notices").status_code == 200


def private_readiness(app: FastAPI) -> tuple[int, dict[str, Any]]:
    """Status and body of /readyz on the private port."""
    page = _private_pages(app.state.authority, ApiMetrics())["/readyz"]()
    return page.status, json.loads(page.body)


def test_the_public_port_says_ready_or_not_and_the_private_one_lists_each_part(
    http: httpx.Client, app: FastAPI
) -> None:
    """No signer listens in these tests: degraded, but decisions can be made. A stranger does not learn it."""
    answer = http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True})
    assert private_readiness(app) == (
        200,
        {"status": "degraded", "parts": {"database": "ok", "redis": "ok", "signer": "down", "keyring": "ok"}},
    )


def test_notices_are_the_published_decisions_and_no_others(http: httpx.Client, world: Tenants) -> None:
    """Public, without the enterprise and without the legal basis."""
    decision = {"scope": "batch", "target": str(world.my_batch), "action": "recall", "reason": "safety-recall",
                "legal_basis": "《消费品召回管理暂行规定》第十三条"}  # fmt: skip
    hangzhou = as_(world.hangzhou)
    assert http.post("/v1/status-changes", json=decision, headers=hangzhou).status_code == 201
    assert http.get("/v1/notices").json()["items"] == []
    notice = decision | {"notice": "杭市监召〔2026〕1号", "note": {"zh": "请停止使用", "en": "Stop using it"}}
    assert http.post("/v1/status-changes", json=notice, headers=hangzhou).status_code == 201
    (shown,) = http.get("/v1/notices").json()["items"]
    assert shown["notice"] == notice["notice"]
    assert shown["reason_text"]["zh"]
    assert not {"enterprise", "legal_basis", "actor"} & set(shown)
    assert http.get("/v1/notices", params={"after": shown["id"]}).json() == {"items": [], "next": None}


def _document(http: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = http.get("/openapi.json").json()
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert method in METHODS
            yield method.upper(), path, operation


def test_every_route_is_in_the_document(http: httpx.Client, app: FastAPI) -> None:
    """Apart from the document's own."""
    described = {(method, path) for method, path, _ in _operations(_document(http))}
    assert described == all_routes(app) - {("GET", "/openapi.json")}


def test_every_route_describes_itself(http: httpx.Client, world: Tenants) -> None:
    """Summary, description, one explained tag; a key exactly where one is needed."""
    document = _document(http)
    tags = {tag["name"] for tag in document["tags"]}
    ids = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(ids)) == len(ids)
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for method, path, operation in _operations(document):
        assert operation["summary"], path
        assert operation["description"].endswith((".", ")")), path
        assert len(operation["tags"]) == 1, path
        assert set(operation["tags"]) <= tags, path
        public = requests(world)[method, path].whose == "public"
        assert ("security" in operation) != public, path


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        node: Any = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            node = node[step]
        schema = node
    return schema


def _has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    schema = _resolved(document, content.get("schema", {}))
    return any(name in holder for holder in (content, schema) for name in ("example", "examples"))


def test_every_request_and_answer_has_an_example(http: httpx.Client) -> None:
    """Request bodies, parameters, responses and problems."""
    document = _document(http)
    for method, path, operation in _operations(document):
        assert any(status[0] == "2" for status in operation["responses"]), path
        for parameter in operation.get("parameters", []):
            assert _has_example(document, parameter) or "default" in parameter["schema"], (path, parameter["name"])
            assert parameter.get("description"), (path, parameter["name"])
        asked = operation.get("requestBody", {}).get("content", {})
        bodies = [asked["application/json"]] if "application/json" in asked else []
        assert bodies or all(content["schema"].get("format") == "binary" for content in asked.values()), path
        bodies += [
            content
            for status, answer in operation["responses"].items()
            for content in answer.get("content", {}).values()
            if (method, path, status) != ("GET", "/v1/batches/{number}/codes", "206")
        ]
        assert bodies, path
        assert all(_has_example(document, body) for body in bodies), (method, path)


def test_every_documented_problem_exists(http: httpx.Client) -> None:
    """The example has the status of its response, and its type is explained; every error is a problem document."""
    document = _document(http)
    assert "HTTPValidationError" not in json.dumps(document)
    for _, path, operation in _operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 400 or path == "/readyz":
                continue
            (media,) = answer["content"]
            content = answer["content"][media]
            assert media == problems.MEDIA_TYPE
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            for slug, one in content["examples"].items():
                assert one["value"]["status"] == int(status) == problems.KINDS[slug].status
                assert set(document["components"]["schemas"]["Problem"]["required"]) <= set(one["value"])


def test_no_schema_requires_an_empty_list_of_fields(http: httpx.Client) -> None:
    """Some generators refuse `required: []`."""
    assert '"required": []' not in json.dumps(_document(http))


def test_every_reference_leads_somewhere(http: httpx.Client) -> None:
    """A client generator cannot use a document with broken references."""
    document = _document(http)

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                assert _resolved(document, node)
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


def test_every_answer_is_documented(http: httpx.Client, world: Tenants) -> None:
    """The status of each route's response is documented, with a valid key and without one."""
    document = _document(http)
    for (method, path), sent in requests(world).items():
        if path != "/openapi.json":
            statuses = set(document["paths"][path][method.lower()]["responses"])
            for token in (world.operator, world.theirs, "nobody"):
                assert str(send(http, method, sent, as_(token)).status_code) in statuses, (method, path)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_no_page_loads_scripts_from_elsewhere(http: httpx.Client, path: str) -> None:
    """FastAPI's own do; there are none."""
    assert http.get(path).status_code == 404


def test_the_guide_names_every_route_and_every_problem(app: FastAPI, root: Path) -> None:
    """docs/api.md names exactly the existing routes."""
    guide = (root / "docs" / "api.md").read_text("utf-8")
    listed = re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", guide, re.MULTILINE)
    assert sorted(listed) == sorted(all_routes(app))
    kinds = re.findall(r"^\| `/problems/([a-z-]+)` \| (\d+) \|", guide, re.MULTILINE)
    assert kinds == [(kind.slug, str(kind.status)) for kind in problems.KINDS.values()]
