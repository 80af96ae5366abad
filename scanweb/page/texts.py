"""The words of the page, one file for each language, and which language a reader gets.

Adding a language is adding `i18n/TAG.json` with the same keys; those below `format.` say how dates and numbers read.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from scanweb.scan.resolver import SHANGHAI
from zpcode.wire.vocabulary import Bilingual

DEFAULT: Final = "zh-CN"
_FOLDER = Path(__file__).parent / "i18n"


class PageTexts:
    """One language's words by key."""

    def __init__(self, language: str, words: dict[str, str]) -> None:
        self.language = language
        self.words = words
        self._months = words["format.months"].split("|")
        self._moment = lru_cache(maxsize=4096)(self._minute)

    def __call__(self, key: str, **values: object) -> str:
        """The words under a key, with their places filled. Raises KeyError where there are none: a defect."""
        words = self.words[key]
        return words.format(**values) if values else words

    def or_else(self, key: str, otherwise: str) -> str:
        """The words under a key, or what to say where the registry uses a word this page does not know."""
        return self.words.get(key, otherwise)

    def pick(self, text: Bilingual) -> str:
        """A registry text in this language; in the other one where it was not given in this."""
        return (text.zh or text.en) if self.language.startswith("zh") else (text.en or text.zh)

    def tag_of(self, text: Bilingual) -> str:
        """The language `pick` found the text in, for the `lang` attribute."""
        chinese = bool(text.zh) if self.language.startswith("zh") else not text.en
        return "zh-CN" if chinese else "en"

    def date(self, text: str) -> str:
        """A calendar date (ISO 8601) as this language writes it; the text itself where it is none."""
        try:
            return self._date(datetime.fromisoformat(text))
        except ValueError:
            return text

    def day(self, at: int) -> str:
        """The calendar day of a time (seconds since 1970) in Shanghai."""
        return self._date(_local(at))

    def _date(self, day: datetime) -> str:
        return self.words["format.date"].format(year=day.year, month=self._months[day.month - 1], day=day.day)

    def moment(self, at: int) -> str:
        """A time (seconds since 1970) in Shanghai, to the minute."""
        return self._moment(at - at % 60)

    def _minute(self, at: int) -> str:
        local = _local(at)
        return self.words["format.moment"].format(date=self._date(local), time=f"{local:%H:%M}")


def _local(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC).astimezone(SHANGHAI)


def load(folder: Path = _FOLDER) -> dict[str, PageTexts]:
    """All languages by tag, the default first."""
    found = {
        path.stem: PageTexts(path.stem, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))
    }
    return {DEFAULT: found.pop(DEFAULT), **found}


class Languages:
    """Chooses among the languages there are (RFC 9110, section 12.5.4)."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        self.tags = tags
        self._by_prefix = {tag.partition("-")[0].lower(): tag for tag in reversed(tags)} | {
            tag.lower(): tag for tag in tags
        }
        self.choose = lru_cache(maxsize=1024)(self._choose)

    def _choose(self, asked: str, accept: str) -> str:
        """The tag asked for by `lang=`, else the best in Accept-Language, else the default."""
        chosen = self._match(asked)
        if chosen is not None:
            return chosen
        for tag, _ in sorted(_weighted(accept), key=lambda weighted: -weighted[1]):
            chosen = self._match(tag)
            if chosen is not None:
                return chosen
        return self.tags[0]

    def _match(self, tag: str) -> str | None:
        lowered = tag.lower()
        return self._by_prefix.get(lowered) or self._by_prefix.get(lowered.partition("-")[0])


def _weighted(header: str) -> list[tuple[str, float]]:
    """Values of a header with their weights (RFC 9110, section 12.4.2); those of weight 0 left out."""
    found = []
    for part in header[:512].split(","):
        value, _, parameters = part.partition(";")
        quality = 1.0
        name, _, weight = parameters.strip().partition("=")
        if name.strip() == "q":
            try:
                quality = float(weight)
            except ValueError:
                quality = 0.0
        if value.strip() and quality > 0:
            found.append((value.strip(), quality))
    return found


@lru_cache(maxsize=1024)
def wants_json(accept: str, asked: str) -> bool:
    """Whether JSON is wanted rather than the page: by `format=json`, or by what Accept prefers."""
    if asked:
        return asked == "json"
    weights: dict[str, float] = {}
    for value, quality in _weighted(accept):
        weights[value.lower()] = max(quality, weights.get(value.lower(), 0.0))
    page = max(weights.get("text/html", 0.0), weights.get("application/xhtml+xml", 0.0))
    return weights.get("application/json", 0.0) > page


@lru_cache(maxsize=256)
def takes_gzip(accept: str) -> bool:
    """Whether a compressed answer may be sent, by Accept-Encoding (RFC 9110, section 12.5.3)."""
    return "gzip" in {value.lower() for value, _ in _weighted(accept)}
