"""The scripts: small, ECMAScript 5, without words, and without forbidden calls."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import ACORN, needed, window
from tests.browser.verifying import STATIC

SCRIPTS = ("page.js", "verify.js")
LARGEST = 7 * 1024
"""The largest size of one script in bytes, uncompressed."""
_READ = """source => {
    const strings = [], names = [];
    acorn.parse(source, {ecmaVersion: 5, onToken: token => {
        if (token.type.label === 'string') strings.push(token.value);
        if (token.type.label === 'name') names.push(token.value);
    }});
    return {strings, names};
}"""
_NEVER = {
    "alert", "confirm", "prompt", "console", "eval", "Function", "innerHTML", "outerHTML", "insertAdjacentHTML", "write",
    "localStorage", "sessionStorage", "cookie", "indexedDB", "geolocation", "sendBeacon", "serviceWorker",
}  # fmt: skip


@pytest.fixture(scope="module")
def read(browser: Browser) -> dict[str, Any]:
    """Strings and names of each script, parsed as ECMAScript 5; newer syntax is an error."""
    with window(browser) as context:
        page = context.new_page()
        page.add_script_tag(path=needed(ACORN, "acorn"))
        return {name: page.evaluate(_READ, (STATIC / name).read_text("utf-8")) for name in SCRIPTS}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_small(read: dict[str, Any], name: str) -> None:
    assert len(read[name]["names"]) > 100
    assert (STATIC / name).stat().st_size <= LARGEST


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_word_stands_in_a_script(read: dict[str, Any], name: str) -> None:
    """A sentence has blanks or Chinese characters; sentences belong in the language files."""
    sentence = re.compile(r"[A-Za-z]{2,} +[A-Za-z]{2,}|[\u4e00-\u9fff]")
    assert [text for text in read[name]["strings"] if sentence.search(text)] == ["use strict"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_stores_nothing_and_writes_no_markup(read: dict[str, Any], name: str) -> None:
    assert _NEVER & set(read[name]["names"]) == set()


def test_every_script_of_the_folder_is_checked() -> None:
    assert {path.name for path in STATIC.glob("*.js")} == set(SCRIPTS)
