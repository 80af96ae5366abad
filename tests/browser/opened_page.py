"""A page opened in a new window, with probes.js and witness.js in it and its requests and errors recorded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request, Response

from tests.browser.chromium import AXE, HERE, PHONE, needed, window

PROBES: Final = (HERE / "probes.js").read_text("utf-8")
WITNESS: Final = (HERE / "witness.js").read_text("utf-8")
AXE_RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOUR_RULES: Final = ("color-contrast", "link-in-text-block")
"""The rules of axe whose result depends on the theme."""


@dataclass
class OpenedPage:
    """One opened page. `requests` are the requested addresses, `errors` the errors of console and scripts.

    `shift` is the Cumulative Layout Shift while the page was loaded and scrolled through.
    """

    page: Page
    status: int = 0
    shift: float = 0.0
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def dress(self, size: tuple[int, int] = PHONE, theme: str = "light", *, root: str = "") -> None:
        """Show the page at another size, in another theme, with another root font size (`200%`)."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        self.page.evaluate("size => { document.documentElement.style.fontSize = size }", root)

    def probe(self, question: str) -> Any:
        """The result of one of the functions in probes.js."""
        return self.page.evaluate(f"probe.{question}()")

    def witness(self) -> dict[str, Any]:
        """The record of witness.js."""
        notes: dict[str, Any] = self.page.evaluate("witness()")
        return notes

    def axe(self, *, colours_only: bool = False) -> list[str]:
        """Violations found by axe-core, as sentences."""
        if not self.page.evaluate("!!window.axe"):
            self.page.evaluate(_axe())
        only = {"type": "rule", "values": COLOUR_RULES} if colours_only else {"type": "tag", "values": AXE_RULES}
        options = {"runOnly": only, "resultTypes": ["violations"], "elementRef": False}
        results = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{each['id']}: {each['help']} {[node['target'] for node in each['nodes']][:4]}"
            for each in results["violations"]
        ]

    def foreign(self) -> list[str]:
        """Requests to any host but the page's own."""
        own = urlsplit(self.page.url).netloc
        return [url for url in self.requests if urlsplit(url).netloc != own and not url.startswith("data:")]


def _axe() -> str:
    with open(needed(AXE, "axe-core"), encoding="utf-8") as file:  # noqa: PTH123 - a path as text
        return file.read()


@contextmanager
def open_page(browser: Browser, url: str, size: tuple[int, int] = PHONE, **how: Any) -> Iterator[OpenedPage]:
    """Open an address. `how` as in `window`. Without JavaScript there is no witness; probes still work."""
    with window(browser, size, **how) as context:
        page = context.new_page()
        if how.get("java_script_enabled", True):
            page.add_init_script(WITNESS)
        opened = OpenedPage(page)
        page.on("request", lambda request: _note_request(opened, request))
        page.on("console", lambda message: _note(opened, message))
        page.on("pageerror", lambda error: _complain(opened, str(error)))
        page.on("dialog", lambda dialog: _dismiss(opened, dialog))
        answer = page.goto(url, wait_until="load")
        assert isinstance(answer, Response)
        opened.status = answer.status
        page.evaluate(PROBES)
        page.evaluate("probe.scrolled()")
        opened.shift = opened.witness()["shift"] if how.get("java_script_enabled", True) else 0.0
        yield opened


def _complain(opened: OpenedPage, text: str) -> None:
    opened.errors.append(text)


def _dismiss(opened: OpenedPage, dialog: Dialog) -> None:
    opened.errors.append(f"dialog: {dialog.message}")
    dialog.dismiss()


def _note_request(opened: OpenedPage, request: Request) -> None:
    opened.requests.append(request.url)


def _note(opened: OpenedPage, message: ConsoleMessage) -> None:
    """Chromium reports a status 404, 429 or 500 of the page itself as an error: this one is not recorded."""
    itself = message.location.get("url") == opened.page.url or opened.page.url == "about:blank"
    if message.type in {"error", "warning"} and not (
        itself and "the server responded with a status of" in message.text
    ):
        opened.errors.append(message.text)
