"""Refusals in the reader's language: too many requests, no such page, no such method.

A refusal says nothing about a code.
"""

from __future__ import annotations

from typing import Final

import msgspec

from scanweb.page.html import ScanPages
from zpcode.language.messages import Messages

_WORDS: Final = {
    404: ("not_found", "nowhere.title", "nowhere.text"),
    405: ("method_not_allowed", "method.title", "method.text"),
    429: ("too_many_requests", "too_many.title", "too_many.text"),
}


class Refusals:
    """Pages and JSON bodies of refusals, rendered once: a refused request must cost almost nothing."""

    def __init__(self, pages: ScanPages, words: dict[str, Messages]) -> None:
        self._json: dict[tuple[int, str], bytes] = {}
        self._pages: dict[tuple[int, str, bool], bytes] = {}
        for status, (name, title, text) in _WORDS.items():
            for language, t in words.items():
                problem = {"error": name, "title": t(title), "text": t(text)}
                self._json[status, language] = msgspec.json.encode(problem)
                for large in (False, True):
                    page = pages.notice(language, t(title), t(text), large=large)
                    self._pages[status, language, large] = b"".join(page.plain(()))

    def body(self, status: int, language: str, *, as_json: bool, large: bool = False) -> bytes:
        """The body for 404, 405 or 429; every other status gets the body of 404."""
        covered = status if status in _WORDS else 404
        return self._json[covered, language] if as_json else self._pages[covered, language, large]
