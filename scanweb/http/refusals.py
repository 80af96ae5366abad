"""What is said instead of an answer, in the reader's language: too many requests, no such page, no such method.

None of it says anything about a code.
"""

from __future__ import annotations

from typing import Final

import msgspec

from scanweb.page.html import ScanPages
from zpcode.language.messages import Messages

_WORDS: Final = {
    404: ("not_found", "nowhere.title", "nowhere.text"),
    405: ("method_not_allowed", "method.title", "method.text"),
    429: ("too_many_requests", "hurry.title", "hurry.text"),
}


class Refusals:
    """Pages and JSON, made once: whoever is refused must cost nothing."""

    def __init__(self, pages: ScanPages, words: dict[str, Messages]) -> None:
        self._told: dict[tuple[int, str], bytes] = {}
        self._pages: dict[tuple[int, str, bool], bytes] = {}
        for status, (name, title, text) in _WORDS.items():
            for language, t in words.items():
                told = {"error": name, "title": t(title), "text": t(text)}
                self._told[status, language] = msgspec.json.encode(told)
                for large in (False, True):
                    page = pages.notice(language, t(title), t(text), large=large)
                    self._pages[status, language, large] = b"".join(page.plain(()))

    def body(self, status: int, language: str, *, as_json: bool, large: bool = False) -> bytes:
        """What is said with one of the statuses above; with any other of the 4xx, as with 404."""
        known = status if status in _WORDS else 404
        return self._told[known, language] if as_json else self._pages[known, language, large]
