"""The page without JavaScript shows everything; a script only adds tools."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import window
from tests.browser.opened_page import PROBES
from tests.browser.stage import LANGUAGES, SCENES, Scene, Stage


def _lines(browser: Browser, url: str, document: bytes, language: str, *, script: bool) -> list[str]:
    """The visible lines of one document, without buttons of scripts and their messages."""
    with window(browser, language=language, java_script_enabled=script) as context:
        page = context.new_page()
        page.route(url, lambda route: route.fulfill(body=document, content_type="text/html; charset=utf-8"))
        page.goto(url, wait_until="load")
        page.evaluate(PROBES)
        lines: list[str] = page.evaluate("probe.lines()")
        return lines


VIEWS = [(scene, LANGUAGES[number % 2]) for number, scene in enumerate(SCENES)]
"""Every scene in one language only: scripts do not depend on the language."""


@pytest.mark.parametrize(("scene", "language"), VIEWS, ids=lambda part: getattr(part, "name", part))
def test_it_says_the_same(stage: Stage, browser: Browser, scene: Scene, language: str) -> None:
    url = stage.url(scene.name, language)
    document = httpx.get(url).content
    without = _lines(browser, url, document, language, script=False)
    assert len(without) >= 4
    assert without == _lines(browser, url, document, language, script=True)


def test_a_script_that_never_comes_takes_nothing_away(stage: Stage, browser: Browser) -> None:
    """If the script does not load, no control is shown that would do nothing."""
    with window(browser) as context:
        page = context.new_page()
        page.route("**/*.js*", lambda route: route.abort())
        page.goto(stage.url("recalled"), wait_until="load")
        page.evaluate(PROBES)
        assert page.evaluate("probe.stops()")
        assert page.locator("button:visible").count() == 0
