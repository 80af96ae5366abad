"""What a route says of itself in the OpenAPI document: examples of its answers, and the problems it may end in."""

from __future__ import annotations

from typing import Any, Final

from zpcode.api.http import problems
from zpcode.errors import Finding, Text

PROBLEM: Final = "#/components/schemas/Problem"
ALWAYS: Final = ("unavailable", "error")
KNOWN: Final = ("unauthenticated", "too-many-requests", *ALWAYS)
BODIED: Final = ("malformed-request", "body-too-large", "unsupported-media-type", "invalid-request")
_REQUEST_ID = "0d9b2d5e-6d8c-4f57-9a0e-3b1f1c2a7e55"
_RULES: Final = {"invalid-request", "refused", "import-refused"}
Responses = dict[int | str, dict[str, Any]]


def answers(status: int, description: str, example: Any, *, slugs: tuple[str, ...], **headers: str) -> Responses:
    """The `responses` of a route: its answer with an example, and the problems by their slugs.

    `headers` describes what the answer carries, with `_` for `-`.
    """
    described = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
    }
    found: Responses = {status: {"description": description}}
    if described:
        found[status]["headers"] = described
    if example is not None:
        found[status]["content"] = {"application/json": {"example": example}}
    return found | _problems(slugs)


def page(example: Any, after: str | int, *, slugs: tuple[str, ...] = KNOWN) -> Responses:
    """The `responses` of a route that gives a page of a list."""
    return answers(200, "One page", {"items": [example], "next": after}, slugs=(*slugs, "invalid-request"))


def _problems(slugs: tuple[str, ...]) -> Responses:
    found: Responses = {}
    for slug in dict.fromkeys(slugs):
        kind = problems.KINDS[slug]
        entry = found.setdefault(kind.status, {"description": "", "content": {problems.MEDIA_TYPE: _content()}})
        entry["description"] = " / ".join(filter(None, (entry["description"], kind.title.en)))
        entry["content"][problems.MEDIA_TYPE]["examples"][slug] = {"value": example(kind)}
    return found


def _content() -> dict[str, Any]:
    return {"schema": {"$ref": PROBLEM}, "examples": {}}


def example(kind: problems.ProblemType) -> dict[str, Any]:
    """A problem document of a kind, in English, as it might be sent."""
    text = Text("数量须在 1 与 1000000000 之间", "the quantity must be within 1 and 1 000 000 000")
    findings = (Finding("quantity", text, "/quantity", "0"),) if kind.slug in _RULES else ()
    more = {"progress": {"written": 8192, "codes": 20000}} if kind.slug == "not-ready" else {}
    return problems.document(kind, kind.advice, language="en", request_id=_REQUEST_ID, findings=findings, **more)
