"""Every page in both languages: contrast, layout, target sizes, keyboard, and no foreign requests.

Each page is opened once for all tests; the checks in the page are in probes.js.
"""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import DESK, PHONE
from tests.browser.opened_page import OpenedPage, open_page
from tests.browser.stage import LANGUAGES, SCENES, Scene, Stage

NARROW = (320, 640)
VIEWS = [(scene, language) for scene in SCENES for language in LANGUAGES]


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0].name}-{view[1]}")
def view(request: pytest.FixtureRequest) -> tuple[Scene, str]:
    """A scene and a language."""
    scene_and_language: tuple[Scene, str] = request.param
    return scene_and_language


@pytest.fixture(scope="module")
def shown(view: tuple[Scene, str], stage: Stage, browser: Browser) -> Iterator[OpenedPage]:
    """The page of that scene, open on a phone."""
    scene, language = view
    with open_page(browser, stage.url(scene.name, language), language=language) as opened:
        yield opened


def test_it_is_the_page_that_was_asked_for(view: tuple[Scene, str], shown: OpenedPage) -> None:
    scene, language = view
    assert shown.status == scene.status
    assert shown.page.evaluate("document.documentElement.lang") == language
    assert (shown.page.locator("#indicators").count() == 1) is scene.has_product


def test_it_asks_nobody_else_and_leaves_nothing_behind(shown: OpenedPage) -> None:
    """No other host, cookie, storage, permission or dialog; no violation of the policy, no error on the console."""
    assert shown.foreign() == []
    assert shown.errors == []
    notes = shown.witness()
    assert (notes["noted"], notes["cookie"], notes["stored"]) == ([], "", 0)
    assert shown.page.context.cookies() == []


def test_nothing_moves_while_it_loads(shown: OpenedPage) -> None:
    assert shown.shift == 0


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "light"), (DESK, "dark")], ids=["phone-light", "desk-dark"])
def test_axe_finds_nothing(shown: OpenedPage, size: tuple[int, int], theme: str) -> None:
    shown.dress(size, theme)
    assert shown.axe(colours_only=theme == "dark") == []  # the theme changes only colours


def test_everything_stands_out_from_its_ground(shown: OpenedPage) -> None:
    """Contrast of text 4.5:1 (large text 3:1), of lines in drawings 3:1. axe does not check SVG or what is outside the window."""
    for theme in ("light", "dark"):
        shown.dress(theme=theme)
        assert shown.probe("faint") == []
        assert shown.probe("faintDrawings") == []


def test_headings_tell_the_outline(shown: OpenedPage) -> None:
    levels = [level for level, _ in shown.probe("headings")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_lines_have_room(shown: OpenedPage) -> None:
    shown.dress()
    assert shown.probe("tight") == []


def test_every_target_can_be_hit_with_a_thumb(shown: OpenedPage) -> None:
    """44 by 44 CSS pixels. A link within a sentence may be smaller: other words of its block are outside all links."""
    for size in (PHONE, DESK):
        shown.dress(size)
        assert shown.probe("small") == []


def test_nothing_reaches_beyond_the_window(shown: OpenedPage) -> None:
    """On a phone and a desk, at 320 px (1280 px enlarged to 400 %), and with letters twice as large."""
    for size, root in ((PHONE, ""), (DESK, ""), (NARROW, ""), (PHONE, "200%"), (DESK, "200%")):
        shown.dress(size, root=root)
        assert shown.probe("wide") == [], (size, root)
    shown.dress()


def test_pictures_keep_their_place_and_come_when_they_are_seen(shown: OpenedPage) -> None:
    shown.dress()
    assert shown.probe("pictures") == []


def test_nothing_is_animated_for_who_asked_for_stillness(shown: OpenedPage) -> None:
    shown.page.emulate_media(reduced_motion="reduce")
    assert shown.probe("moving") == []


def test_the_keyboard_alone_gets_everywhere(view: tuple[Scene, str], shown: OpenedPage) -> None:
    """Tab stops once at every control, in the order of the page, in view, with a visible outline.

    Chinese pages are checked on a light phone, English pages on a dark desktop.
    """
    shown.dress(*((PHONE, "light") if view[1] == "zh-CN" else (DESK, "dark")))
    expected = shown.probe("stops")
    shown.probe("atTheTop")
    walked = []
    for _ in range(len(expected) + 1):
        shown.page.keyboard.press("Tab")
        stop = shown.probe("focused")
        if stop is None:
            break
        walked.append(stop)
    assert [stop["name"] for stop in walked] == expected
    assert [stop for stop in walked if stop["outline"] < 2 or stop["contrast"] < 3 or not stop["visible"]] == []
