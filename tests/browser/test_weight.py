"""The transferred size of the page of the rich product: 12 indicators, all commitments, a journey."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import gzip
import re

import httpx
import pytest
from playwright.sync_api import Browser, Response

from tests.browser.chromium import PHONE, window
from tests.browser.stage import LANGUAGES, SCENES, Stage

KIB = 1024
FIRST, WHOLE = 14 * KIB, 50 * KIB
"""The first round trip of a new connection carries ten segments (RFC 6928): 14 600 bytes."""


def _raw(url: str) -> tuple[bytes, httpx.Headers]:
    """A response for a client that accepts gzip, with its body still compressed."""
    with httpx.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
        return b"".join(answer.iter_raw()), answer.headers


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", [scene.name for scene in SCENES])
def test_the_first_answer_fits_into_the_first_round_trip(stage: Stage, name: str, language: str) -> None:
    body, headers = _raw(stage.url(name, language))
    head = sum(len(key) + len(value) + 4 for key, value in headers.raw) + 19
    assert head + len(body) <= FIRST
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    assert not re.search(rb'<link[^>]+rel="?stylesheet', body), "the styles come in a second round trip"
    assert b"<style>" in body


def test_rich_pages_travel_compressed(stage: Stage) -> None:
    body, headers = _raw(stage.url("recalled"))
    assert headers["content-encoding"] == "gzip"
    plain = httpx.get(stage.url("recalled"), headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(body) < len(plain.content) / 3
    assert "accept-encoding" in plain.headers["vary"].lower()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_whole_page_is_light(stage: Stage, browser: Browser, language: str) -> None:
    """Everything that the browser fetches, with headers, without the pictures of the product and of the brand."""
    with window(browser, PHONE, language=language) as context:
        page = context.new_page()
        answers: list[Response] = []
        page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - Playwright cannot hold a built-in
        page.goto(stage.url("recalled", language), wait_until="networkidle")
        sizes = {each.url: each.request.sizes() for each in answers if "/pictures/" not in each.url}
    assert len(sizes) >= 2
    assert sum(size["responseHeadersSize"] + size["responseBodySize"] for size in sizes.values()) <= WHOLE
