"""The OpenAPI document: what FastAPI finds in the routes, and what it cannot know.

Added are the problem document, and the product card as the scan service has it (`zpcode.wire.card`), both in
one place each; taken away is FastAPI's own form of a validation error, which no answer has.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from zpcode.api.http import documented, problems
from zpcode.wire.card import ProductCard

TITLE: Final = "浙品码 · the authority"
VERSION: Final = "1"
DESCRIPTION: Final = """
Enterprises order batches of signed codes, regulators decide about them.

Send `Authorization: Bearer zpk_ID_SECRET`. An enterprise reaches its own, a regulator their region and what lies
in it, the operator everything; what lies beyond is answered as if it were not there. Errors are problem documents
(RFC 9457) in the language of `Accept-Language`. Lists come in pages: send the `next` of one as `after` of the next.
JSON bodies have at most 64 KiB, registry files at most 32 MiB.
"""
TAGS: Final = [
    {"name": "batches", "description": "批次码的生成、下载与激活 / making, fetching and activating codes"},
    {"name": "journey", "description": "产品历程 / what happened to the goods: production, inspection, shipping"},
    {"name": "status", "description": "标记、冻结、召回、撤销、恢复 / decisions about codes"},
    {"name": "registry", "description": "企业与产品 / enterprises and products"},
    {"name": "complaints", "description": "投诉的办理 / complaints: read, assigned, answered, closed"},
    {"name": "operator", "description": "平台运营 / only for the operator"},
    {"name": "public", "description": "公开 / for anybody"},
]
_CARD_PATH: Final = "/v1/products/{gtin}"
_REFERENCE: Final = "#/components/schemas/{name}"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TITLED: Final = {"type": "object", "properties": {"title": _TEXT, "detail": _TEXT}}


def install(app: FastAPI) -> None:
    """Have an application serve this document."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    found = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, tags=TAGS, routes=app.routes)
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for responses in (operation["responses"] for path in found["paths"].values() for operation in path.values()):
        # FastAPI's own, where a route names none: such a route has path parameters only, and those are not found.
        if "application/json" in responses.get("422", {}).get("content", {}):
            del responses["422"]
    schemas["Problem"] = _problem()
    (reference,), card = msgspec.json.schema_components([ProductCard], ref_template=_REFERENCE)
    schemas.update({name: schema for name, schema in card.items() if name not in schemas})
    found["paths"][_CARD_PATH]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = reference
    return found


def _problem() -> dict[str, Any]:
    """The schema of a problem document (RFC 9457, with the extension members of `zpcode.api.http.problems`)."""
    finding = {
        "type": "object",
        "required": ["reason", "detail", "languages"],
        "properties": {
            "reason": {"type": "string", "description": "Stable."},
            "detail": _TEXT,
            "pointer": {"type": "string", "format": "json-pointer", "description": "Where in the body (RFC 6901)."},
            "where": {"type": "string", "description": "A ?parameter, a header, or sheet, row and column."},
            "value": {"type": "string", "description": "What stood there, cut to 80 characters."},
            "languages": {"type": "object", "properties": {"zh": _TEXT, "en": _TEXT}},
        },
    }
    return {
        "type": "object",
        "description": "RFC 9457. In the language of Accept-Language; `languages` has both.",
        "required": ["type", "title", "status", "detail", "instance", "errors", "languages"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference", "description": "/problems/SLUG explains it."},
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": {"type": "string", "format": "uri", "description": "This request: as X-Request-Id."},
            "errors": {"type": "array", "items": finding},
            "progress": {
                "type": "object",
                "description": "not-ready: how far the file is.",
                "properties": {"written": {"type": "integer"}, "codes": {"type": "integer"}},
            },
            "languages": {"type": "object", "properties": {"zh": _TITLED, "en": _TITLED}},
        },
        "example": documented.example(problems.KINDS["refused"]),
    }
