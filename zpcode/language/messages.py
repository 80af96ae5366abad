"""The words that a service shows, one file for each language: `i18n/TAG.json`, with the same keys in every file.

To add a language, add a file. A missing key is a defect and raises KeyError; tests compare the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from zpcode.errors import Text
from zpcode.language.formats import Formats
from zpcode.language.negotiation import CHINESE


class BilingualText(Protocol):
    """A text in Chinese and in English, either of them possibly empty."""

    @property
    def zh(self) -> str:
        """The Chinese text."""
        ...

    @property
    def en(self) -> str:
        """The English text."""
        ...


class Messages:
    """The words of one language (a BCP 47 tag) by key, and its formats of dates and numbers. Times are shown in `zone`."""

    def __init__(self, language: str, words: dict[str, str], zone: tzinfo) -> None:
        self._zone = zone
        self.language = language
        self.words = words
        self.formats = Formats(language)
        self._chinese = language.startswith("zh")
        self._minute = lru_cache(maxsize=4096)(self._write_minute)

    def __call__(self, key: str, **values: object) -> str:
        """The words of a key, with the placeholders filled. Raises KeyError if the key, or a value, is missing."""
        words = self.words[key]
        return words.format(**values) if values else words

    def or_else(self, key: str, otherwise: str) -> str:
        """The words of a key, or `otherwise` if there are none: the registry may use a term that has no words here."""
        return self.words.get(key, otherwise)

    def pick(self, text: BilingualText) -> str:
        """A registry text in this language, or in the other one if this one is empty."""
        return (text.zh or text.en) if self._chinese else (text.en or text.zh)

    def tag_of(self, text: BilingualText) -> str:
        """The language of the text that `pick` returns, for the `lang` attribute."""
        chinese = bool(text.zh) if self._chinese else not text.en
        return "zh-CN" if chinese else "en"

    def sentence(self, text: Text) -> str:
        """A message of the rules in this language."""
        return text.in_language(self.language)

    def date(self, text: str) -> str:
        """A calendar date (ISO 8601) in the format of this language; a text that is no date is returned unchanged."""
        try:
            return self.formats.date(datetime.fromisoformat(text).date())
        except ValueError:
            return text

    def day(self, at: int) -> str:
        """The calendar day of a time (seconds since 1970) in the zone."""
        return self.formats.date(self._local(at).date())

    def moment(self, at: int) -> str:
        """A time (seconds since 1970) in the zone, to the minute. Every scan calls this twice."""
        return self._minute(at - at % 60)

    def moment_of(self, at: datetime) -> str:
        """An aware datetime in the zone, to the minute."""
        return self.moment(int(at.timestamp()))

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at, UTC).astimezone(self._zone)

    def _write_minute(self, at: int) -> str:
        local = self._local(at)
        return self.words["format.moment"].format(date=self.formats.date(local.date()), time=f"{local:%H:%M}")


def load(zone: tzinfo, folder: Path, *more: Path) -> dict[str, Messages]:
    """All languages of a folder by tag, Chinese first.

    Each further folder has a file for each of these languages too; its words go before those of the folders before it.
    Raises FileNotFoundError where a file is missing.
    """
    tags = sorted((path.stem for path in folder.glob("*.json")), key=lambda tag: (tag != CHINESE, tag))
    return {tag: Messages(tag, _words(tag, (folder, *more)), zone) for tag in tags}


def _words(tag: str, folders: Iterable[Path]) -> dict[str, str]:
    words: dict[str, str] = {}
    for folder in folders:
        words |= json.loads((folder / f"{tag}.json").read_text("utf-8"))
    return words
