"""The printed page, on paper or as PDF: complete, on four sheets at most, black on white."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from pypdf import PdfReader

from tests.browser.opened_page import OpenedPage, open_page
from tests.browser.stage import LANGUAGES, Stage

SHEETS = 4
RADICALS = 20
"""Characters of the page that the font of the PDF may map to radicals."""


@pytest.fixture(scope="module", params=LANGUAGES)
def shown(request: pytest.FixtureRequest, stage: Stage, browser: Browser) -> Iterator[OpenedPage]:
    """The page with the most content: a recalled item of the rich product, in the dark theme."""
    with open_page(browser, stage.url("recalled", request.param), language=request.param, theme="dark") as opened:
        yield opened


@pytest.fixture(scope="module")
def sheets(shown: OpenedPage) -> list[str]:
    """The text of each sheet of the PDF, without blanks."""
    shown.page.emulate_media(media="print")
    document = PdfReader(io.BytesIO(shown.page.pdf(format="A4")))
    return [_even(sheet.extract_text()) for sheet in document.pages]


def _even(text: str) -> str:
    """The text without blanks, with one kind of dash, and without the radicals (U+2E80 to U+2FDF) that a font uses for 龙, 页 or 用."""
    plain = re.sub(r"[\u2010-\u2015\u2212\u301c~]", "-", unicodedata.normalize("NFKC", text))
    return re.sub(r"[\s\u2e80-\u2fdf]", "", plain)


def test_it_is_four_sheets_at_most(sheets: list[str]) -> None:
    assert 1 <= len(sheets) <= SHEETS


def test_the_verdict_is_on_the_first(shown: OpenedPage, sheets: list[str]) -> None:
    assert _even(shown.page.locator("h1").inner_text()) in sheets[0]


def test_nothing_is_left_out(shown: OpenedPage, sheets: list[str]) -> None:
    """Every text of the page except those of links and buttons."""
    whole = "".join(sheets)
    shown.page.emulate_media(media="screen")
    texts = shown.probe("words")
    assert len(texts) > 100
    unnamed = {letter for text in texts for letter in text if "\u4e00" <= letter <= "\u9fff"} - set(whole)
    assert len(unnamed) <= RADICALS
    assert [text for text in texts if _even("".join(x for x in text if x not in unnamed)) not in whole] == []


def test_it_is_ink_on_paper_even_for_who_likes_the_dark(shown: OpenedPage) -> None:
    shown.page.emulate_media(media="print", color_scheme="dark")
    assert shown.probe("faint") == []
    ground = shown.page.evaluate(
        "[...document.querySelectorAll('body, .card, .verdict, .band')].map(each => getComputedStyle(each).backgroundColor)"
    )
    assert set(ground) <= {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
