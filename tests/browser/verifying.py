"""A page at a made-up https address with the test's keyring, to run `verify.js`.

The page comes from the scan service; only the pinned root key and the fetched keyring are the test's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route

import scanweb
from scanweb.page.identity import SiteIdentity
from tests.browser.chromium import window

HOST: Final = "https://zp.example"
KEYRING: Final = "/.well-known/zpcode-keyring.json"
STATIC: Final = Path(scanweb.__path__[0]) / "page" / "static"
_CLICK: Final = "#verify [data-do=verify]"
_OUTCOME: Final = """() => {
    const said = document.querySelector('#verify [data-part=said]').textContent;
    const word = [...document.querySelectorAll('#verify [data-word]')].find(each => each.textContent === said);
    return word && word.dataset.word !== 'busy' ? word.dataset.word : null;
}"""
_SHOW: Final = """([path, code]) => {
    history.pushState(null, '', path);
    document.querySelector('[data-code]').textContent = code;
    document.querySelector('#verify [data-part=said]').textContent = '';
    document.querySelector('#verify [data-do=verify]').click();
}"""


@dataclass
class PageOutcome:
    """What the page shows: the name of the outcome, and the steps that were taken."""

    outcome: str
    steps: list[str]


@dataclass
class Site:
    """The site that is served. With a `keyring` of None its path does not answer, nor do the paths in `missing`.

    `official` is the official address in the page; empty: the address of the site.
    """

    html: str
    root: bytes
    keyring: bytes | None
    status: int = 200
    host: str = HOST
    official: str = ""
    missing: set[str] = field(default_factory=set)

    def answer(self, route: Route) -> None:
        """Answer one request."""
        path = urlsplit(route.request.url).path
        if path in self.missing or (path == KEYRING and self.keyring is None):
            route.abort()
        elif path == KEYRING:
            route.fulfill(status=self.status, body=self.keyring or b"", content_type="application/json")
        elif path.startswith("/static/"):
            route.fulfill(body=(STATIC / Path(path).name).read_bytes(), content_type="text/javascript")
        else:
            official = SiteIdentity.of(self.official or self.host, self.root)
            page = re.sub(r'data-root="[^"]*"', f'data-root="{official.root}"', self.html)
            page = re.sub(r'data-base="[^"]*"', f'data-base="{official.base}"', page)
            route.fulfill(body=page, content_type="text/html; charset=utf-8")


def verified(page: Page) -> PageOutcome:
    """Press "verify" and wait for the outcome."""
    page.click(_CLICK)
    return outcome(page)


def outcome(page: Page) -> PageOutcome:
    """Wait for the outcome after "verify" was pressed."""
    name = page.wait_for_function(_OUTCOME).json_value()
    steps = page.eval_on_selector_all(
        "#verify [data-step]", "all => all.filter(e => e.checkVisibility()).map(e => e.dataset.step)"
    )
    return PageOutcome(name, steps)


def judged(page: Page, path: str) -> PageOutcome:
    """The outcome for another address; the code shown is the part behind the seal."""
    page.evaluate(_SHOW, [path, path[path.find("/01/") :].upper()])
    return outcome(page)


@contextmanager
def opened(browser: Browser, site: Site, path: str, **options: Any) -> Iterator[Page]:
    """The page at a path of the site, as if the service had accepted the code."""
    with window(browser, **options) as context:
        context.route(f"{site.host}/**", site.answer)
        page = context.new_page()
        page.goto(site.host + path)
        page.evaluate(
            "code => { document.querySelector('[data-code]').textContent = code; }", path[path.find("/01/") :].upper()
        )
        yield page
