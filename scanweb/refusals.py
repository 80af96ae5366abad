"""What is said instead of an answer, in the reader's language: too many requests, no such page, no such method.

None of it says anything about a code.
"""

from __future__ import annotations

from typing import Final

import msgspec

from scanweb.pages import Pages
from scanweb.texts import Texts

_WORDS: Final = {
    404: ("not_found", "nowhere.title", "nowhere.text"),
    405: ("method_not_allowed", "method.title", "method.text"),
    429: ("too_many_requests", "hurry.title", "hurry.text"),
}


class Refusals:
    """Pages and JSON, made once: whoever is refused must cost nothing."""

    def __init__(self, pages: Pages, words: dict[str, Texts]) -> None:
        self._bodies: dict[tuple[int, str, bool], bytes] = {}
        for status, (name, title, text) in _WORDS.items():
            for language, t in words.items():
                told = {"error": name, "title": t(title), "text": t(text)}
                self._bodies[status, language, True] = msgspec.json.encode(told)
                self._bodies[status, language, False] = b"".join(pages.notice(language, t(title), t(text)).plain(()))

    def body(self, status: int, language: str, *, as_json: bool) -> bytes:
        """What is said with one of the statuses above; with any other of the 4xx, as with 404."""
        return self._bodies[status if status in _WORDS else 404, language, as_json]
