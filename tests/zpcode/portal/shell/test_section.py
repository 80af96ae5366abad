"""A made-up section with its own templates and texts works on the shell."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.support.clock import Clock
from zpcode.errors import NotFound, Text, Unavailable
from zpcode.portal.shell.layout import PortalPages, redirect
from zpcode.portal.shell.section import Section
from zpcode.wire import security_headers

PREFIX = "/orchard"
TEMPLATES = {
    "layout.html": "{% extends 'shell/layout.html' %}{% block navigation %}<a href='{{ prefix }}/apples'>{{ t('apples') }}</a>"
    "{% endblock %}{% block footer %}<p>{{ t('apples') }}</p>{% endblock %}",
    "apples.html": "{% extends 'layout.html' %}{% import 'fields.html' as fields %}{% block title %}{{ t('apples') }}{% endblock %}"
    "{% block main %}{{ fields.summary(t, errors) }}<h1>{{ sort }}</h1>{{ fields.error('sort', field_errors) }}{% endblock %}",
}  # fmt: skip
WORDS = {
    "zh-CN": {"apples": "苹果", "site.name": "果园"},
    "en": {"apples": "Apples", "site.name": "Orchard", "error.404.text": "No such apple."},
}


class Orchard(Section):
    """A section with one page, and routes that fail."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        routes = [
            Route("/", self._apples),
            Route("/apples", self._apples, methods=["GET"]),
            Route("/wrong", self._wrong, methods=["GET"]),
            Route("/pick", self._pick, methods=["POST", "DELETE"]),
            *(Route(f"/{name}", failing(error)) for name, error in ERRORS.items()),
        ]
        super().__init__(PortalPages(PREFIX, folder), routes, reads=20, clock=clock)

    async def _apples(self, request: Request) -> Response:
        sort = request.query_params.get("sort", "<b>")
        return self.pages.page("apples.html", self.pages.texts(request), query={"sort": sort}, sort=sort)

    async def _pick(self, _: Request) -> Response:
        return redirect(f"{PREFIX}/apples")

    async def _wrong(self, request: Request) -> Response:
        errors = [("sort", "is rotten"), ("", "too many"), ("sort", "is green")]
        return self.pages.page("apples.html", self.pages.texts(request), 422, errors=errors, sort="")


ERRORS: dict[str, Exception] = {
    "missing": NotFound(Text("没有", "nothing")),
    "away": Unavailable(Text("不可用", "away")),
    "broken": ValueError("a secret"),
    "slow": HTTPException(408),
    "teapot": HTTPException(418),
}


def failing(error: Exception) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that raises."""

    async def endpoint(_: Request) -> Response:
        raise error

    return endpoint


class SectionClient:
    """A client of an application without a socket, in English."""

    def __init__(self, app: Starlette) -> None:
        self._app = app

    def get(
        self,
        path: str,
        *,
        method: str = "GET",
        sent: dict[str, str] | None = None,
        address: str = "127.0.0.1",
        **params: str,
    ) -> httpx.Response:
        """The answer to one request, with these headers, from this address."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                headers = {"Accept-Language": "en"} | (sent or {})
                return await client.request(method, path, params=params or None, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def http(tmp_path: Path, clock: Clock) -> SectionClient:
    """A client of an application with the section, whose pages an address may open twenty times a minute."""
    for folder, files in (
        ("templates", TEMPLATES),
        ("i18n", {f"{tag}.json": json.dumps(one) for tag, one in WORDS.items()}),
    ):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text, "utf-8")
    app = Starlette()
    Orchard(tmp_path, clock).install(app)
    return SectionClient(app)


def test_a_page_has_title_navigation_header_and_footer(http: SectionClient) -> None:
    page = http.get(f"{PREFIX}/apples")
    assert page.status_code == 200
    assert "<title>Apples · Orchard</title>" in page.text
    header, main, footer = (
        re.search(rf"<{tag}.*?</{tag}>", page.text, re.DOTALL) for tag in ("header", "main", "footer")
    )
    assert header and "Orchard" in header[0] and f"<a href='{PREFIX}/apples'>Apples</a>" in header[0]  # noqa: PT018
    assert main and "<h1>&lt;b&gt;</h1>" in main[0]  # noqa: PT018
    assert footer and "<p>Apples</p>" in footer[0]  # noqa: PT018
    assert "complaint" not in page.text


def test_the_language_switch_keeps_the_query(http: SectionClient) -> None:
    english = http.get(f"{PREFIX}/apples", sort="r&d")
    assert (english.headers["Content-Language"], '<html lang="en">' in english.text) == ("en", True)
    links = re.findall(r'<a href="(\?[^"]*)" hreflang="([^"]*)"', english.text)
    assert links == [("?sort=r%26d&amp;lang=zh-CN", "zh-CN")]
    chinese = http.get(f"{PREFIX}/apples?sort=r%26d&lang=zh-CN")
    assert "<title>苹果 · 果园</title>" in chinese.text
    assert 'hreflang="en"' in chinese.text
    assert 'hreflang="zh-CN"' not in chinese.text


def test_every_page_has_the_headers_of_the_portal(http: SectionClient) -> None:
    for path in ("/apples", "/missing", "/nowhere", "/broken", "/wrong"):
        headers = http.get(PREFIX + path).headers
        assert {name: headers[name] for name in security_headers.PORTAL_PAGE} == dict(security_headers.PORTAL_PAGE)
        assert (headers["Cache-Control"], headers["Vary"]) == ("no-store", "Accept-Language")


def test_a_page_loads_only_what_the_section_serves(http: SectionClient) -> None:
    page = http.get(f"{PREFIX}/apples").text
    loaded = re.findall(r'<(?:link|script)[^>]*(?:href|src)="([^"]*)"', page)
    assert len(loaded) == 3
    for address in loaded:
        assert address.startswith(f"{PREFIX}/static/")
        assert http.get(address).status_code == 200
    assert http.get(f"{PREFIX}/static/layout.html").status_code == 404


def test_errors_stand_above_and_the_first_of_a_field_beside_it(http: SectionClient) -> None:
    page = http.get(f"{PREFIX}/wrong").text
    assert "<title>Error: Apples" in page
    assert page.count('<a href="#f-sort">') == 2
    assert "<li>too many</li>" in page
    assert re.findall(r'id="e-sort">([^<]*)<', page) == ["is rotten"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("nowhere", 404, "No such apple."),
        ("missing", 404, "No such apple."),
        ("away", 503, "Nothing was recorded."),
        ("broken", 500, "Something went wrong on our side"),
        ("slow", 408, "The upload took too long"),
        ("teapot", 400, "We could not read what was sent"),
    ],
)
def test_an_error_is_a_page_of_the_section(http: SectionClient, path: str, status: int, words: str) -> None:
    """With the section's texts and navigation, and without the text of an internal error."""
    page = http.get(f"{PREFIX}/{path}")
    assert page.status_code == status
    assert words in page.text
    assert f"<a href='{PREFIX}/apples'>" in page.text
    assert "secret" not in page.text
    assert (page.headers.get("Retry-After"), page.headers.get("Connection")) == (
        "5" if status == 503 else None,
        "close" if status == 408 else None,
    )


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_every_section_refuses_what_a_page_of_another_site_sends(http: SectionClient, method: str) -> None:
    """With a page that says so; a link to a page is followed, an image is not shown, and a program sends neither header."""
    evil = {"Origin": "https://evil.example"}
    for sent in (evil, evil | {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}):
        page = http.get(f"{PREFIX}/pick", method=method, sent=sent)
        assert (page.status_code, page.headers["Connection"]) == (403, "close")
        assert "This request came from another site" in page.text
        assert http.get(f"{PREFIX}/apples", sent=sent).status_code == 200
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}
    assert http.get(f"{PREFIX}/apples", sent=image).status_code == 403
    for sent in ({"Origin": "http://here", "Sec-Fetch-Site": "same-origin"}, {"Origin": "http://here"}, {}):
        assert http.get(f"{PREFIX}/pick", method=method, sent=sent).status_code == 303


def test_a_method_that_a_route_lacks_gets_a_page_and_allow(http: SectionClient) -> None:
    page = http.get(f"{PREFIX}/apples", method="POST")
    assert (page.status_code, set(page.headers["Allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert "This address does not support that request" in page.text


def test_the_prefix_without_a_slash_leads_to_the_section(http: SectionClient) -> None:
    answer = http.get(f"{PREFIX}?lang=en")
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{PREFIX}/?lang=en")


def test_a_section_has_every_language_of_the_shell(tmp_path: Path) -> None:
    (tmp_path / "i18n").mkdir()
    (tmp_path / "i18n/zh-CN.json").write_text("{}", "utf-8")
    with pytest.raises(FileNotFoundError, match=r"en\.json"):
        PortalPages(PREFIX, tmp_path)


def test_an_address_that_opens_pages_without_end_waits_and_no_other(http: SectionClient, clock: Clock) -> None:
    """Files of the layout are not counted, and a balancer that does not pass on addresses is not limited."""
    stranger, reader = "60.191.0.1", "60.191.0.2"
    assert {http.get(f"{PREFIX}/apples", address=stranger).status_code for _ in range(20)} == {200}
    page = http.get(f"{PREFIX}/apples", address=stranger)
    assert (page.status_code, page.headers["Retry-After"]) == (429, "3")
    assert http.get(f"{PREFIX}/static/form.css", address=stranger).status_code == 200
    assert http.get(f"{PREFIX}/apples", address=reader).status_code == 200
    assert {http.get(f"{PREFIX}/apples", address="10.0.0.7").status_code for _ in range(21)} == {200}
    clock.seconds += 3
    assert http.get(f"{PREFIX}/apples", address=stranger).status_code == 200
