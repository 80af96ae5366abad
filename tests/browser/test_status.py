"""A status has a shape and a word besides its colour, for readers who cannot tell red from green or hear the page."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import io
from itertools import combinations

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser

from tests.browser.chromium import window
from tests.browser.stage import LANGUAGES, SCENES, Stage

TONES = {"good": "verified-first", "caution": "flagged", "bad": "revoked", "neutral": "unconfirmed"}
ALIKE = 0.7
"""Two shapes differ enough if less than this share of their dark pixels coincides."""
SHAPE = "section.verdict [role=img]"


def _ink(picture: bytes) -> Image.Image:
    """The pixels of a shape that differ from its background."""
    grey = Image.open(io.BytesIO(picture)).convert("L")
    ground = Image.new("L", grey.size, grey.getpixel((0, 0)))
    return ImageChops.difference(grey, ground).point(lambda value: 255 if value > 40 else 0).resize((64, 64))


def _share(mask: Image.Image) -> float:
    histogram = mask.histogram()
    return sum(histogram[128:]) / sum(histogram)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_four_tones_have_four_shapes(stage: Stage, browser: Browser, theme: str) -> None:
    shapes = {}
    with window(browser, theme=theme) as context:
        page = context.new_page()
        for tone, name in TONES.items():
            page.goto(stage.url(name))
            shapes[tone] = _ink(page.locator(SHAPE).screenshot())
            assert 0.05 < _share(shapes[tone]) < 0.6, f"{tone}: no shape stands out from its ground"
    for (one, first), (other, second) in combinations(shapes.items(), 2):
        both = _share(ImageChops.darker(first, second)) / _share(ImageChops.lighter(first, second))
        assert both < ALIKE, f"{one} and {other} look alike without their colours: {both:.2f}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_verdict_has_a_word_of_its_own_and_every_shape_a_name(
    stage: Stage, browser: Browser, language: str
) -> None:
    words: dict[str, set[str]] = {}
    names: dict[str, set[str]] = {}
    with window(browser, language=language) as context:
        page = context.new_page()
        for scene in SCENES:
            if scene.public in {"landing", "error"}:
                continue
            page.goto(stage.url(scene.name, language))
            words.setdefault(scene.public, set()).add(page.locator("h1").inner_text())
            tone = page.locator("section.verdict").get_attribute("class") or ""
            names.setdefault(tone, set()).add(page.locator(SHAPE).get_attribute("aria-label") or "")
    assert all(len(texts) == 1 for texts in words.values())
    assert len({word for texts in words.values() for word in texts}) == len(words) == 12
    assert len(names) == 4
    assert len({name for texts in names.values() for name in texts if name}) == 4


@pytest.mark.parametrize("tone", TONES)
def test_shape_word_and_advice_are_seen_without_scrolling(stage: Stage, browser: Browser, tone: str) -> None:
    """On a phone 640 pixels high, in both languages: verdict, meaning and advice."""
    for language in LANGUAGES:
        with window(browser, language=language) as context:
            page = context.new_page()
            page.goto(stage.url(TONES[tone], language))
            for part in (SHAPE, "h1", "section.verdict .advice"):
                box = page.locator(part).bounding_box()
                assert box is not None
                assert box["y"] + box["height"] <= 640, (language, part)
