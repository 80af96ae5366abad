"""The `responses` of a route in the OpenAPI document: an example of its response, and the problems it can end in."""

from __future__ import annotations

from typing import Any, Final

from zpcode.api.http import problems
from zpcode.errors import Finding, Text

PROBLEM: Final = "#/components/schemas/Problem"
ALWAYS: Final = ("unavailable", "error")
"""Slugs of the problems that every route can end in."""
WITH_KEY: Final = ("unauthenticated", "too-many-requests", *ALWAYS)
"""The same for a route that needs an API key."""
WITH_BODY: Final = ("malformed-request", "body-too-large", "unsupported-media-type", "invalid-request")
"""Slugs of the problems that a request body can cause besides."""
_REQUEST_ID = "0d9b2d5e-6d8c-4f57-9a0e-3b1f1c2a7e55"
_WITH_FINDINGS: Final = {"invalid-request", "refused", "import-refused"}
Responses = dict[int | str, dict[str, Any]]


def responses_of(status: int, description: str, example: Any, *, slugs: tuple[str, ...], **headers: str) -> Responses:
    """The `responses` of a route: its response with an example, and the problems by their slugs.

    `headers` describes the headers of the response, with `_` for `-`.
    """
    described = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    responses: Responses = {status: {"description": description}}
    if described:
        responses[status]["headers"] = described
    if example is not None:
        responses[status]["content"] = {"application/json": {"example": example}}
    return responses | _problems(slugs)


def page_responses(example: Any, after: str | int, *, slugs: tuple[str, ...] = WITH_KEY) -> Responses:
    """The `responses` of a route that gives a page of a list."""
    return responses_of(200, "One page", {"items": [example], "next": after}, slugs=(*slugs, "invalid-request"))


def _problems(slugs: tuple[str, ...]) -> Responses:
    responses: Responses = {}
    for slug in dict.fromkeys(slugs):
        kind = problems.KINDS[slug]
        entry = responses.setdefault(kind.status, {"description": "", "content": {problems.MEDIA_TYPE: _content()}})
        entry["description"] = " / ".join(filter(None, (entry["description"], kind.title.en)))
        entry["content"][problems.MEDIA_TYPE]["examples"][slug] = {"value": example(kind)}
    return responses


def _content() -> dict[str, Any]:
    return {"schema": {"$ref": PROBLEM}, "examples": {}}


def example(kind: problems.ProblemType) -> dict[str, Any]:
    """An example of a problem document of a kind, in English."""
    text = Text("数量须在 1 与 1000000000 之间", "the quantity must be within 1 and 1 000 000 000")
    findings = (Finding("quantity", text, "/quantity", "0"),) if kind.slug in _WITH_FINDINGS else ()
    more = {"progress": {"written": 8192, "codes": 20000}} if kind.slug in {"not-ready", "file-removed"} else {}
    return problems.document(kind, kind.advice, language="en", request_id=_REQUEST_ID, findings=findings, **more)
