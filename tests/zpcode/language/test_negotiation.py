"""API, portal and scan page choose the language by one rule: the same headers are sent to all three."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import HTTPConnection, Request

from scanweb.http.exchange import Request as ScanRequest
from scanweb.page.texts import load as scan_words
from zpcode.api.http import problems
from zpcode.errors import NotFound, Text
from zpcode.language.negotiation import Languages, choose_language, takes_gzip, wants_json, weighted
from zpcode.portal.complaints import routes
from zpcode.portal.complaints.routes import PREFIX
from zpcode.portal.shell.layout import PortalPages

ZH, EN = "zh-CN", "en"
CASES = [
    ("", ZH), ("*", ZH), ("zh-CN,zh;q=0.9,en;q=0.8", ZH), ("zh-TW", ZH), ("en", EN), ("en-GB,en;q=0.8", EN), ("EN", EN),
    ("fr", EN), ("fr, zh;q=0.1", ZH), ("de,*", ZH), ("en;q=0.5,*;q=0.8", ZH), ("en_US", EN), ("zh_CN", ZH),
    ("zh;q=0, *", EN), ("zh;q=0", EN), ("en, zh", EN), ("zh, en", ZH), ("en;q=x", ZH), ("en;q=2", ZH), (";;,,q=", ZH),
    ("en;q=0", ZH), ("fr, en;q=0", ZH), ("en-GB;q=0, fr", ZH), ("fr, zh;q=0", EN), ("en;q=0, zh;q=0", EN), ("*;q=0", EN),
    ("yue-Hant-HK", ZH), ("cmn-Hans-CN,en;q=0.5", ZH), ("yue;q=0, fr", EN), ("yuez", EN),
    ("en;q=0, *;q=0.1", ZH), ("en;q=nan, zh;q=0.1", ZH), ("zh;q=0.5, en;q=0.9", EN), ("fr, en;q=0.3, zh;q=0.5", ZH), ("," * 100_000, ZH),
]  # fmt: skip


def headers(lines: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    """Accept-Language in so many lines."""
    return [(b"accept-language", line.encode("latin-1")) for line in lines]


def of_the_api(*accept: str) -> str:
    """The language of a problem document."""
    scope = {"type": "http", "headers": headers(accept), "state": {}}
    return problems.response_to(HTTPConnection(scope), NotFound(Text("没有", "nothing"))).headers["content-language"]


def of_the_portal(*accept: str) -> str:
    """The language of a page."""
    scope = {"type": "http", "headers": headers(accept), "query_string": b""}
    return PortalPages(PREFIX, Path(routes.__file__).parent).texts(Request(scope)).language


def of_a_scan(*accept: str) -> str:
    """The language of the page of a code."""
    request = ScanRequest.read({"method": "GET", "headers": headers(accept), "query_string": b""})
    return Languages(tuple(scan_words())).choose(request.asked_language, request.languages)


@pytest.mark.parametrize(("accept", "language"), CASES)
def test_all_three_services_choose_the_same_language(accept: str, language: str) -> None:
    assert (of_the_api(accept), of_the_portal(accept), of_a_scan(accept)) == (language,) * 3


@pytest.mark.parametrize(
    ("lines", "language"),
    [
        (("fr", "zh"), ZH),
        (("zh", "fr"), ZH),
        (("zh;q=0.1", "en;q=0.9"), EN),
        (("en;q=0.9", "zh;q=0.1"), EN),
        (("", "en"), EN),
        (("x" * 600, "en"), ZH),
    ],
)
def test_lines_of_one_header_are_one_list(lines: tuple[str, ...], language: str) -> None:
    """RFC 9110, 5.3: no service takes the first line, or the last, for the whole."""
    assert (of_the_api(*lines), of_the_portal(*lines), of_a_scan(*lines)) == (language,) * 3


@pytest.mark.parametrize(
    ("asked", "language"), [("en", EN), ("EN", EN), ("en_US", EN), ("zh-TW", ZH), ("zh", ZH), ("xx", ZH), ("", ZH)]
)
def test_a_language_that_is_asked_for_by_its_tag_wins(asked: str, language: str) -> None:
    """A tag that no service has is ignored."""
    assert choose_language((ZH, EN), "zh", asked) == language
    if language == EN:
        assert choose_language((ZH, EN), "zh", asked) != choose_language((ZH, EN), "zh", "")


def test_the_nearest_of_more_languages_is_chosen() -> None:
    tags = (ZH, EN, "ja", "zh-TW")
    assert choose_language(tags, "zh-TW") == "zh-TW"
    assert choose_language(tags, "ja;q=0.9, en;q=0.8") == "ja"
    assert choose_language(tags, "fr") == EN
    assert choose_language(tags, "en;q=0, zh;q=0") == "ja"


@pytest.mark.parametrize(
    ("accept", "asked", "json"),
    [
        ("", "", False), ("*/*", "", False), ("application/json", "", True), ("text/html,application/json;q=0.9", "", False),
        ("text/html;q=0.5,application/json", "", True), ("text/html", "json", True), ("application/json", "html", False),
    ],
)  # fmt: skip
def test_json_goes_to_those_who_prefer_it(accept: str, asked: str, json: bool) -> None:
    assert wants_json(accept, asked) is json


def test_gzip_is_sent_only_where_it_is_taken() -> None:
    assert takes_gzip("gzip, deflate, br")
    assert not any(map(takes_gzip, ("", "br", "gzip;q=0", "gzip;q=0.000")))


@given(st.text(max_size=600))
def test_no_header_upsets_the_weights(header: str) -> None:
    assert all(0.0 <= weight <= 1.0 and value for value, weight in weighted(header))
    assert choose_language((ZH, EN), header, header) in {ZH, EN}
