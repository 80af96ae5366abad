"""The OpenAPI document: FastAPI's, made from the routes, with two additions and one removal.

Added are the schema of a problem document and that of the product card (`zpcode.wire.card`). Removed is FastAPI's schema
of a validation error, because this API never sends one.
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
Enterprises order batches of signed codes. Regulators decide about the codes.

Send `Authorization: Bearer zpk_ID_SECRET`. An enterprise reaches its own objects, a regulator those of its region, the
operator all. An object outside your reach is answered with 404, as if it did not exist. Errors are problem documents
(RFC 9457) in the language of `Accept-Language`. Lists come in pages: send the `next` of a page as `after` of the next request.
JSON bodies have at most 64 KiB, registry files at most 32 MiB.
"""
TAGS: Final = [
    {"name": "batches", "description": "批次码的生成、下载与激活 / ordering, downloading and activating codes"},
    {"name": "journey", "description": "产品历程 / the journey of the goods: production, inspection, shipping"},
    {"name": "status", "description": "标记、冻结、召回、撤销、恢复 / decisions about codes"},
    {"name": "registry", "description": "企业与产品 / enterprises and products"},
    {"name": "complaints", "description": "投诉的办理 / complaints: read, assigned, answered, closed"},
    {"name": "operator", "description": "平台运营方专用 / only for the operator"},
    {"name": "public", "description": "公开，无需密钥 / public, without a key"},
]
_CARD_PATH: Final = "/v1/products/{gtin}"
_REFERENCE: Final = "#/components/schemas/{name}"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_TITLED: Final = {"type": "object", "properties": {"title": _TEXT, "detail": _TEXT}}


def install(app: FastAPI) -> None:
    """Make an application serve this document at /openapi.json."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]


def document(app: FastAPI) -> dict[str, Any]:
    """The whole document."""
    openapi = get_openapi(title=TITLE, version=VERSION, description=DESCRIPTION, tags=TAGS, routes=app.routes)
    schemas = openapi["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for responses in (operation["responses"] for path in openapi["paths"].values() for operation in path.values()):
        # FastAPI adds its own 422 to a route without one. Such a route has only path parameters, whose errors are 404.
        if "application/json" in responses.get("422", {}).get("content", {}):
            del responses["422"]
    schemas["Problem"] = _problem()
    (reference,), card = msgspec.json.schema_components([ProductCard], ref_template=_REFERENCE)
    schemas.update({name: _without_empty_required(schema) for name, schema in card.items() if name not in schemas})
    openapi["paths"][_CARD_PATH]["get"]["responses"]["200"]["content"]["application/json"]["schema"] = reference
    return openapi


def _without_empty_required(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of msgspec, which writes `required: []` if every field is optional (JSON Schema Draft 4 forbids that)."""
    return schema if schema.get("required") else {key: value for key, value in schema.items() if key != "required"}


def _problem() -> dict[str, Any]:
    """The schema of a problem document (RFC 9457, with the extension members of `zpcode.api.http.problems`)."""
    finding = {
        "type": "object",
        "required": ["reason", "detail", "languages"],
        "properties": {
            "reason": {"type": "string", "description": "Stable: programs may compare it."},
            "detail": _TEXT,
            "pointer": {"type": "string", "format": "json-pointer", "description": "The place in the body (RFC 6901)."},
            "where": {
                "type": "string",
                "description": "The place elsewhere: `?parameter`, a header, or sheet, row and column.",
            },
            "value": {"type": "string", "description": "The value at that place, cut to 80 characters."},
            "languages": {"type": "object", "properties": {"zh": _TEXT, "en": _TEXT}},
        },
    }
    return {
        "type": "object",
        "description": "RFC 9457, in the language of Accept-Language. `languages` has Chinese and English.",
        "required": ["type", "title", "status", "detail", "instance", "errors", "languages"],
        "properties": {
            "type": {
                "type": "string",
                "format": "uri-reference",
                "description": "/problems/SLUG, an address that explains it.",
            },
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": {
                "type": "string",
                "format": "uri",
                "description": "The id of this request, as in X-Request-Id.",
            },
            "errors": {"type": "array", "items": finding},
            "progress": {
                "type": "object",
                "description": "Only of not-ready and file-removed: how many codes of the file are written.",
                "properties": {"written": {"type": "integer"}, "codes": {"type": "integer"}},
            },
            "languages": {"type": "object", "properties": {"zh": _TITLED, "en": _TITLED}},
        },
        "example": documented.example(problems.KINDS["refused"]),
    }
