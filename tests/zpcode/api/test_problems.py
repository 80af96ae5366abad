"""The table from errors to problems, and the sentences of schema errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from zpcode import errors
from zpcode.api import fields, schemas
from zpcode.api.http import problems, refusals, validation
from zpcode.errors import Finding, Text, ZpError
from zpcode.language.negotiation import choose_language


def _family(kind: type[ZpError]) -> Iterator[type[ZpError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _connection(language: str = "en") -> Request:
    return Request({"type": "http", "headers": [(b"accept-language", language.encode())], "state": {"request_id": "7"}})


def test_every_class_of_error_is_a_kind_of_problem() -> None:
    """Every subclass of the error family has a kind, also one that is added later."""
    assert errors
    assert refusals
    ours = [kind for kind in _family(ZpError) if kind.__module__.partition(".")[0] in {"zpcode", "keys", "scanweb"}]
    assert len(ours) > 12
    for kind in ours:
        assert kind.slug in problems.KINDS, kind


def test_the_status_follows_the_class() -> None:
    """The table the interface promises."""
    promised: dict[type[ZpError], int] = {
        errors.MalformedCode: 422, errors.Refused: 422, errors.ImportRefused: 422, errors.Forbidden: 403,
        errors.NotFound: 404, errors.Conflict: 409, errors.KeyringError: 503, errors.SignerError: 502,
        errors.SignerUnavailable: 503, errors.Unavailable: 503, errors.ZpError: 500, refusals.Unauthenticated: 401,
        refusals.UnsupportedMedia: 415, refusals.UnsatisfiableRange: 416, refusals.Malformed: 422, refusals.NotReady: 409,
    }  # fmt: skip
    assert {kind: problems.KINDS[kind.slug].status for kind in promised} == promised


def test_a_slug_is_a_stable_word() -> None:
    """A slug is part of an address and unique."""
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in problems.KINDS)
    assert len({kind.type for kind in problems.KINDS.values()}) == len(problems.KINDS)


def test_a_finding_in_the_body_has_a_pointer_and_any_other_a_place() -> None:
    """An RFC 6901 pointer for the body; sheet, row and column are not a pointer."""
    text = Text("错", "wrong")
    errors = problems.document(
        problems.KINDS["refused"], text, language="zh", request_id="7",
        findings=(Finding("a", text, "/lot", "x"), Finding("b", text, "产品!B3"), Finding("c", text)),
    )["errors"]  # fmt: skip
    assert (errors[0]["pointer"], errors[0]["value"], errors[0]["detail"]) == ("/lot", "x", "错")
    assert errors[1]["where"] == "产品!B3"
    assert not {"pointer", "where", "value"} & set(errors[2])


def test_any_value_that_a_client_sent_is_shown_in_the_finding() -> None:
    """A lone surrogate is not UTF-8, but the response must be."""
    error = errors.Refused(Text("错", "wrong"), (Finding("a", Text("错", "wrong"), "/x", "\ud800"),))
    answer = problems.response_to(_connection(), error)
    assert b"\\ud800" in bytes(answer.body)


def test_an_error_says_when_to_try_again() -> None:
    """Retry-After, Content-Range, WWW-Authenticate and progress, each with its errors."""
    answer = problems.response_to(_connection(), refusals.NotReady(3, 9, Text("等", "wait")))
    assert b'"progress": {"written": 3, "codes": 9}' in bytes(answer.body)
    assert "retry-after" in answer.headers
    assert problems.response_to(_connection(), refusals.UnsatisfiableRange(10)).headers["content-range"] == "bytes */10"
    assert (
        problems.response_to(_connection(), refusals.Unauthenticated()).headers["www-authenticate"].startswith("Bearer")
    )
    assert "retry-after" not in problems.response_to(_connection(), refusals.Unauthenticated()).headers


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"), ("", "zh"), ("*", "zh"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en", "en"), ("en-GB", "en"),
        ("EN", "en"), ("en;q=0.5, zh;q=0.9", "zh"), ("zh;q=0.5, en;q=0.9", "en"), ("fr", "en"), ("fr, zh;q=0.1", "zh"),
        ("de,*", "zh"), ("zh;q=0, *", "en"), ("en, zh", "en"), ("zh, en", "zh"), ("zh;q=0", "en"), ("en;q=x", "zh"),
        ("en;q=nan, zh;q=0.1", "zh"), (";;,,q=", "zh"), ("en;q=2", "zh"), ("," * 100_000, "zh"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_is_preferred(header: str | None, language: str) -> None:
    """By weight, then by order; Chinese without the header, English if it asks for neither language."""
    assert choose_language(("zh-CN", "en"), header or "").partition("-")[0] == language


def _errors(schema: Any, value: Any) -> list[Any]:
    try:
        TypeAdapter(schema).validate_python(value)
    except ValidationError as error:
        return [one | {"loc": ("body", *one["loc"])} for one in error.errors()]
    return []


HOSTILE: list[Any] = [
    None,
    True,
    5,
    1.5,
    "",
    "x",
    "x" * 600,
    "a\x00b",
    [],
    {},
    {"zh": 5},
    -1,
    10**30,
    "2026-1-1",
    "2026-02-30",
    0,
]


def test_every_kind_of_schema_error_has_a_sentence() -> None:
    """Each request schema, member and wrong value: no finding has the general text."""
    kinds = set()
    for schema in (schemas.BatchOrder, schemas.DecisionOrder, schemas.KeyOrder):
        for member in [*schema.model_fields, "unknown"]:
            for value in HOSTILE:
                errors = _errors(schema, {member: value})
                assert validation.OTHER not in {one.reason for one in validation.findings(errors)}, (member, value)
                kinds |= {error["type"] for error in errors}
        for body in HOSTILE[:12]:
            assert validation.OTHER not in {one.reason for one in validation.findings(_errors(schema, body))}
    assert {"missing", "extra_forbidden", "enum", "day", "moment", "index", "characters", "string_too_long"} <= kinds


def test_the_place_of_an_error_is_readable() -> None:
    """Pointer, parameter, header; the header as it is usually written."""
    error = {"type": "missing", "ctx": {}}
    for loc, where in (
        (("body", "note", "zh"), "/note/zh"),
        (("body", "a/b~c"), "/a~1b~0c"),
        (("body",), ""),
        (("query", "limit"), "?limit"),
        (("header", "idempotency-key"), "Idempotency-Key"),
    ):
        assert validation.findings([error | {"loc": loc}])[0].where == where


def test_findings_are_bounded() -> None:
    """A body of 64 KiB can be wrong in very many places."""
    error = {"type": "missing", "loc": ("body", "x")}
    assert len(validation.findings([error] * 5000)) == validation.MAX_FINDINGS


@pytest.mark.parametrize("text", ["2026-11-21", "2028-02-29"])
def test_a_date_is_read_as_it_is_written(text: str) -> None:
    """YYYY-MM-DD."""
    assert str(TypeAdapter(fields.Day).validate_python(text)) == text


@pytest.mark.parametrize("value", [0, 1.5, True, "20261121", "2026-W47-6", "2026-1-2", "2027-02-29", "二〇二六", b"2026-11-21", {}])  # fmt: skip
def test_nothing_else_is_a_date(value: object) -> None:
    """Pydantic would read a number as seconds since 1970 and accept week dates."""
    assert [error["type"] for error in _errors(fields.Day, value)] == ["day"]


@pytest.mark.parametrize("value", [0, "2026-11-21T12:00:00", "2026-11-21", "now", "0001-01-01T00:00:00+23:00", {}])
def test_a_time_has_its_offset(value: object) -> None:
    """RFC 3339; a time without an offset is refused because it is ambiguous."""
    assert [error["type"] for error in _errors(fields.Moment, value)] == ["moment"]
    right = TypeAdapter(fields.Moment).validate_python("2026-11-21T12:00:00+08:00")
    assert str(right) == "2026-11-21 04:00:00+00:00"
