"""A hostile text in any field of the registry does not change the page: product, decision and journey."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import goods
from tests.browser.chromium import DESK, PHONE
from tests.browser.opened_page import OpenedPage, open_page
from tests.browser.stage import Stage

NARROW = (320, 640)


@pytest.fixture(scope="module", params=goods.HOSTILE)
def hostile(request: pytest.FixtureRequest, stage: Stage, browser: Browser) -> Iterator[OpenedPage]:
    """A flagged product with a hostile text in every field."""
    with open_page(browser, stage.url(f"hostile-{request.param}")) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(stage: Stage, browser: Browser) -> Iterator[list[str]]:
    """The element structure of the same page with plain text in every field."""
    with open_page(browser, stage.url("hostile-plain")) as opened:
        yield opened.probe("skeleton")


def test_its_bones_are_those_of_any_other_page(hostile: OpenedPage, plain: list[str]) -> None:
    assert hostile.status == 200
    assert hostile.probe("skeleton") == plain


def test_nothing_in_it_runs_or_goes_elsewhere(hostile: OpenedPage) -> None:
    assert hostile.witness()["noted"] == []
    assert hostile.errors == []
    assert hostile.foreign() == []
    assert (
        hostile.page.evaluate(
            "[...document.querySelectorAll('*')].some(each => each.getAttributeNames().some(n => n.startsWith('on')))"
        )
        is False
    )
    assert hostile.page.locator("a[href^='javascript:' i]").count() == 0


def test_no_text_is_turned_around(hostile: OpenedPage) -> None:
    """Marks that reorder text (bidi) are removed; joiners that make an emoji stay."""
    markup = hostile.page.evaluate("document.documentElement.outerHTML")
    assert not set(markup) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c\0")
    if "🧿" in markup:
        assert "👩\u200d👩\u200d👧\u200d👦" in markup


@pytest.mark.parametrize("size", [PHONE, DESK, NARROW], ids=str)
def test_it_never_grows_wider_than_the_window(hostile: OpenedPage, size: tuple[int, int]) -> None:
    hostile.dress(size)
    assert hostile.probe("wide") == []


def test_its_verdict_stands_first_all_the_same(hostile: OpenedPage) -> None:
    hostile.dress()
    assert hostile.page.locator("h1").inner_text() == "正在核查"
    assert hostile.page.locator("h1").bounding_box()["y"] < PHONE[1] / 2  # type: ignore[index]


def test_a_hostile_address_changes_nothing(stage: Stage, browser: Browser) -> None:
    """Markup in the path, in the query or typed at /q comes back as text only."""
    base = stage.bases["open"]
    for path in ('/"><script>alert(1)</script>', "/?lang=<script>alert(1)</script>", '/q?code="><img src=x onerror=alert(1)>',
                 "/01/123?lang=en&size=%22onload%3Dalert(1)"):  # fmt: skip
        with open_page(browser, base + path) as opened:
            assert opened.witness()["noted"] == []
            assert opened.errors == []
            assert "alert(1)" not in opened.page.content()
