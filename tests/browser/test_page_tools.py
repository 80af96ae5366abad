"""Large text, reading aloud, sharing, printing, the warning on another address: what the script adds to a page."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import window
from tests.browser.stage import Stage
from tests.browser.verifying import HOST, Site, opened
from tests.support import keyroom
from tests.zpcode.wire.test_vectors import KEYS

SPEECH: Final = """(() => {
    const spoken = window.spoken = [];
    const speech = { cancelled: 0, voices: VOICES, getVoices() { return this.voices; }, speak(words) { spoken.push(words); },
                     cancel() { this.cancelled += 1; } };
    Object.defineProperty(window, 'speechSynthesis', { value: speech });
    window.SpeechSynthesisUtterance = function (text) { this.text = text; };
})()"""
SHARING: Final = """(() => {
    window.shared = [];
    navigator.share = what => { shared.push(what); return ANSWER; };
})()"""
CLIPBOARD: Final = """(() => {
    window.copied = [];
    Object.defineProperty(navigator, 'share', { value: undefined });
    Object.defineProperty(navigator, 'clipboard', { value: { writeText: text => { copied.push(text); return ANSWER; } } });
    document.execCommand = name => { copied.push(name); return COMMAND; };
})()"""
_RESTED: Final = "new Promise(resolve => setTimeout(resolve, 50))"


@contextmanager
def shown(browser: Browser, url: str, script: str = "", **options: Any) -> Iterator[Page]:
    """A page with an additional script that runs first. Any error of the page fails the test."""
    with window(browser, **options) as context:
        page = context.new_page()
        if script:
            page.add_init_script(script)
        noises: list[str] = []
        page.on("console", lambda message: noises.append(message.text))
        page.on("pageerror", lambda error: noises.append(str(error)))
        page.goto(url)
        yield page
        assert noises == []


def button(page: Page, name: str) -> Any:
    """The button of one tool."""
    return page.locator(f"[data-do={name}]")


def message(page: Page) -> str:
    """The message that the tools show."""
    return page.locator(".tools [data-part=said]").inner_text()


def word(page: Page, name: str) -> str:
    """The tools' text with this name."""
    return page.locator(f".tools [data-word={name}]").text_content() or ""


# Large text -------------------------------------------------------------------------------------------


def test_large_text_comes_and_goes_without_a_request(stage: Stage, browser: Browser) -> None:
    with shown(browser, stage.url("verified-lot", "en")) as page:
        page.evaluate("window.stayed = true")
        label, before = button(page, "large").inner_text(), page.locator("main").inner_text()
        for large in (True, False):
            button(page, "large").click()
            assert page.evaluate("document.documentElement.classList.contains('large')") is large
            query = parse_qs(urlsplit(page.url).query)
            assert query == {"lang": ["en"], **({"size": ["large"]} if large else {})}
            assert (button(page, "large").inner_text() == label) is not large
            links = page.eval_on_selector_all(
                "nav a[hreflang], footer a[href*='lang=']", "all => all.map(a => a.search)"
            )
            assert links
            assert all(("size=large" in link) is large for link in links)
            assert ("size=large" in (button(page, "large").get_attribute("href") or "")) is not large
        assert page.evaluate("window.stayed")
        assert page.locator("main").inner_text() == before


def test_the_address_keeps_large_text_and_nothing_else_does(stage: Stage, browser: Browser) -> None:
    with shown(browser, stage.url("verified-lot", "en")) as page:
        small = page.locator("h1").evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
        button(page, "large").click()
        toggled = page.locator("h1").evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
        label = button(page, "large").inner_text()
        page.reload()
        served = page.locator("h1").evaluate("each => parseFloat(getComputedStyle(each).fontSize)")
        assert small < toggled == served
        assert button(page, "large").inner_text() == label
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert page.context.cookies() == []
        button(page, "large").click()
        assert "size" not in page.url


def test_large_text_without_javascript(stage: Stage, browser: Browser) -> None:
    with window(browser, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(stage.url("verified-lot"))
        button(page, "large").click()
        assert page.locator("html.large").count() == 1
        button(page, "large").click()
        assert page.locator("html.large").count() == 0


# Reading aloud ----------------------------------------------------------------------------------------


def spoken(page: Page) -> list[dict[str, str]]:
    """All utterances in order; each one is ended as a speech engine would end it."""
    button(page, "say").click()
    utterances: list[dict[str, str]] = page.evaluate("""() => {
        for (let at = 0; at < spoken.length && at < 500; at += 1) spoken[at].onend();
        return spoken.map(({text, lang}) => ({text, lang}));
    }""")
    return utterances


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_everything_to_be_said_is_said_in_order_and_in_its_language(
    stage: Stage, browser: Browser, language: str
) -> None:
    voices = SPEECH.replace("VOICES", "[{lang: 'en_US'}, {lang: 'zh-CN'}]")
    with shown(browser, stage.url("recalled", language), voices) as page:
        utterances = spoken(page)
        wanted = [" ".join(text.split()) for text in page.locator("[data-say]").all_text_contents()]
        assert len(wanted) >= 5
        assert _letters("".join(each["text"] for each in utterances)) == _letters("".join(wanted))
        assert utterances[0] == {"text": page.locator("h1").inner_text(), "lang": language}
        assert {each["lang"] for each in utterances} == {language}
        assert button(page, "say").get_attribute("aria-pressed") == "false"


def _letters(text: str) -> str:
    return re.sub(r"\s+", "", text)


def test_a_text_in_another_language_has_that_languages_voice_and_long_ones_come_in_pieces(
    stage: Stage, browser: Browser
) -> None:
    long = (
        "One, two, three, four, five, six, seven, eight, nine, ten; no full stop " * 4
        + "W" * 250
        + ". Version 3.5 now."
    )
    with shown(browser, stage.url("verified-lot"), SPEECH.replace("VOICES", "[{lang: 'zh'}]")) as page:
        page.evaluate(
            """text => { const last = [...document.querySelectorAll('[data-say]')].pop();
                         last.innerHTML = '<b><bdi lang="en"></bdi></b>'; last.querySelector('bdi').textContent = text; }""",
            long,
        )
        utterances = spoken(page)
        english = [each["text"] for each in utterances if each["lang"] == "en"]
        assert _letters("".join(english)) == _letters(long)
        assert max(len(each["text"]) for each in utterances) <= 100
        assert english[-1] == "Version 3.5 now."
        assert "WW" not in english[0]


def test_pressing_again_stops_and_so_does_leaving(stage: Stage, browser: Browser) -> None:
    with shown(browser, stage.url("verified-lot"), SPEECH.replace("VOICES", "[{lang: 'zh-CN'}]")) as page:
        say = button(page, "say")
        say.click()
        assert say.get_attribute("aria-pressed") == "true"
        say.click()
        assert say.get_attribute("aria-pressed") == "false"
        assert page.evaluate("spoken[0].onend() || [spoken.length, speechSynthesis.cancelled]") == [1, 1]
        say.click()
        assert page.evaluate("dispatchEvent(new Event('pagehide')) && speechSynthesis.cancelled") == 2
        assert say.get_attribute("aria-pressed") == "false"
        say.click()
        page.evaluate("spoken[spoken.length - 1].onerror()")
        assert say.get_attribute("aria-pressed") == "false"


@pytest.mark.parametrize(
    ("voices", "offered"),
    [("[{lang: 'zh_CN'}]", True), ("[{lang: 'cmn-Hans-CN'}]", True), ("[{lang: 'en-US'}, {lang: 'de'}]", False), ("[]", False)],
)  # fmt: skip
def test_the_button_is_there_where_a_voice_is(stage: Stage, browser: Browser, voices: str, offered: bool) -> None:
    with shown(browser, stage.url("verified-lot"), SPEECH.replace("VOICES", voices)) as page:
        assert button(page, "say").is_visible() is offered


def test_voices_may_come_late(stage: Stage, browser: Browser) -> None:
    with shown(browser, stage.url("verified-lot"), SPEECH.replace("VOICES", "[]")) as page:
        assert not button(page, "say").is_visible()
        page.evaluate(
            "speechSynthesis.voices = [{lang: 'zh-CN'}]; for (i = 0; i < 2; i += 1) speechSynthesis.onvoiceschanged()"
        )
        button(page, "say").click()
        assert page.evaluate("spoken.length") == 1
        assert button(page, "say").get_attribute("aria-pressed") == "true"


# Sharing ----------------------------------------------------------------------------------------------


def test_what_is_shared_is_the_code_and_nothing_of_the_reader(stage: Stage, browser: Browser) -> None:
    url = stage.url("verified-again", "en") + "&size=large"
    with shown(browser, url, SHARING.replace("ANSWER", "Promise.resolve()")) as page:
        button(page, "share").click()
        assert page.evaluate("shared") == [{"title": page.title(), "url": url.partition("?")[0]}]
        assert message(page) == ""


def test_a_typed_number_is_shared_as_its_own_address(stage: Stage, browser: Browser) -> None:
    with shown(browser, stage.url("typed"), SHARING.replace("ANSWER", "Promise.resolve()")) as page:
        button(page, "share").click()
        path = page.locator("[data-code]").inner_text()
        assert path.startswith("/01/")
        assert urlsplit(page.evaluate("shared[0].url"))[2:] == (path, "", "")


def test_a_share_that_was_called_off_says_nothing(stage: Stage, browser: Browser) -> None:
    script = SHARING.replace("ANSWER", "Promise.reject(new DOMException('', 'AbortError'))")
    with shown(browser, stage.url("verified-lot"), script) as page:
        button(page, "share").click()
        page.evaluate(_RESTED)
        assert message(page) == ""
        assert not page.locator("[data-part=link]").is_visible()


@pytest.mark.parametrize(
    ("answer", "command", "tried"),
    [("Promise.resolve()", "false", 1), ("Promise.reject(new Error())", "true", 2)],
    ids=["clipboard", "command"],
)
def test_a_browser_that_cannot_share_copies(
    stage: Stage, browser: Browser, answer: str, command: str, tried: int
) -> None:
    script = CLIPBOARD.replace("ANSWER", answer).replace("COMMAND", command)
    url = stage.url("verified-again")
    with shown(browser, url, script) as page:
        button(page, "share").click()
        page.evaluate(_RESTED)
        assert page.evaluate("copied") == [url.partition("?")[0], "copy"][:tried]
        assert message(page) == word(page, "copied")
        assert "扫码" in message(page)  # an item's link: opening it counts as a scan
        assert not page.locator("[data-part=link]").is_visible()


def test_a_browser_that_cannot_copy_shows_the_link_marked(stage: Stage, browser: Browser) -> None:
    script = CLIPBOARD.replace("ANSWER", "Promise.reject(new Error())").replace("COMMAND", "false")
    url = stage.url("verified-lot")
    with shown(browser, url, script) as page:
        button(page, "share").click()
        field = page.get_by_label(re.compile("复制"))
        field.wait_for(state="visible")
        assert field.input_value() == url.partition("?")[0]
        marked = page.evaluate("[document.activeElement.selectionStart, document.activeElement.selectionEnd]")
        assert marked == [0, len(field.input_value())]
        assert message(page) == ""


# Printing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("works", [True, False])
def test_printing_where_it_works_and_a_word_where_it_does_not(stage: Stage, browser: Browser, works: bool) -> None:
    script = f"window.print = () => {{ if ({str(works).lower()}) dispatchEvent(new Event('beforeprint')); }}"
    with shown(browser, stage.url("verified-lot"), script) as page:
        page.clock.install()
        button(page, "print").click()
        page.clock.run_for(1500)
        assert message(page) == ("" if works else word(page, "unprinted"))


# The address, and what fails --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("official", "warned"), [(HOST, False), ("https://zp-code.example", True), ("http://zp.example", True)]
)
def test_another_address_than_the_official_one_is_warned_of(
    stage: Stage, browser: Browser, official: str, warned: bool
) -> None:
    site = Site(stage.get("verified-lot").text, KEYS["root"].encode(), None, official=official)
    with opened(browser, site, "/any/01/" + keyroom.GTIN) as page:
        warning = page.locator("[data-base]")
        assert warning.is_visible() is warned
        assert warning.get_attribute("role") == "alert"


def lines(page: Page) -> set[str]:
    """The lines of a page without times of day, because a minute may end between two views."""
    return {re.sub(r"\b\d\d:\d\d\b", "", line) for line in page.locator("main").inner_text().splitlines() if line}


@pytest.mark.parametrize("gone", ["speechSynthesis", "print", "crypto", "history", "Promise", "XMLHttpRequest"])
def test_what_a_browser_has_not_costs_only_what_needs_it(stage: Stage, browser: Browser, gone: str) -> None:
    script = f"Object.defineProperty(window, '{gone}', {{ get() {{ throw new Error('{gone}'); }} }});"
    with window(browser) as context:
        page = context.new_page()
        page.goto(stage.url("verified-lot"))
        whole = lines(page)
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.add_init_script(script)
        page.reload()
        assert button(page, "share").is_visible()
        assert button(page, "verify").is_visible()
        assert lines(page) <= whole
        assert broken == []


def test_without_javascript_no_button_is_shown_that_does_nothing(stage: Stage, browser: Browser) -> None:
    with window(browser, java_script_enabled=False) as context:
        page = context.new_page()
        for scene in ("verified-again", "landing", "not-verified"):
            page.goto(stage.url(scene))
            assert page.locator("button[data-do]:visible, [data-part]:not([role]):visible").count() == 0
            assert page.locator("a[data-do=large]").is_visible()
