"""A page behind a made-up https address, with a keyring of the test's choice: what `verify.js` makes of it.

The page is the scan service's own; only the root key it pins is another, and the keyring that it fetches.
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
class Outcome:
    """What the page said: the name of the outcome's words, and the steps it shows as taken."""

    outcome: str
    steps: list[str]


@dataclass
class Site:
    """What is served. A `keyring` of None does not answer; `missing` are paths that do not either.

    `official` is the address the page says is the right one: its own where nothing is said.
    """

    html: str
    root: bytes
    keyring: bytes | None
    status: int = 200
    host: str = HOST
    official: str = ""
    missing: set[str] = field(default_factory=set)

    def answer(self, route: Route) -> None:
        """One request."""
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


def verified(page: Page) -> Outcome:
    """Press "verify" and wait for the outcome."""
    page.click(_CLICK)
    return outcome(page)


def outcome(page: Page) -> Outcome:
    """Wait for what the page says after "verify" was pressed."""
    name = page.wait_for_function(_OUTCOME).json_value()
    steps = page.eval_on_selector_all(
        "#verify [data-step]", "all => all.filter(e => e.checkVisibility()).map(e => e.dataset.step)"
    )
    return Outcome(name, steps)


def judged(page: Page, path: str) -> Outcome:
    """The outcome for another address, on a page that believes it: the code shown is what stands behind the seal."""
    page.evaluate(_SHOW, [path, path[path.find("/01/") :].upper()])
    return outcome(page)


@contextmanager
def opened(browser: Browser, site: Site, path: str, **options: Any) -> Iterator[Page]:
    """The page at a path of the site, as if the service had let the code there pass."""
    with window(browser, **options) as context:
        context.route(f"{site.host}/**", site.answer)
        page = context.new_page()
        page.goto(site.host + path)
        page.evaluate(
            "code => { document.querySelector('[data-code]').textContent = code; }", path[path.find("/01/") :].upper()
        )
        yield page
