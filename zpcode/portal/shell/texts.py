"""The words of the portal's pages, one file for each language, and which language a reader gets.

Adding a language is adding `i18n/TAG.json` with the same keys. A key that is not there is a defect and raises KeyError.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from zpcode.errors import Text
from zpcode.wire.calendar import SHANGHAI
from zpcode.wire.vocabulary import Bilingual

DEFAULT: Final = "zh-CN"
_FOLDER: Final = Path(__file__).parent / "i18n"


@dataclass(frozen=True)
class PortalTexts:
    """The words of one language (a BCP 47 tag) by key."""

    language: str
    words: dict[str, str]

    def __call__(self, key: str, **values: Any) -> str:
        """The words of a key, `{name}` filled in. Raises KeyError."""
        found = self.words[key]
        return found.format(**values) if values else found

    def pick(self, text: Bilingual) -> str:
        """A text that comes in Chinese and English, in the language nearest to this one."""
        chinese = self.language.startswith("zh")
        return (text.zh or text.en) if chinese else (text.en or text.zh)

    def said(self, text: Text) -> str:
        """A message of the rules."""
        return text.in_language(self.language)

    def moment(self, at: datetime) -> str:
        """A time in Shanghai, to the minute, as this language writes it."""
        local = at.astimezone(SHANGHAI)
        month = self.words["format.months"].split(",")[local.month - 1]
        return self("format.moment", year=local.year, month=month, day=local.day, clock=f"{local:%H:%M}")


def load(folder: Path = _FOLDER) -> dict[str, PortalTexts]:
    """All languages by tag, the default first."""
    found = {
        path.stem: PortalTexts(path.stem, json.loads(path.read_text("utf-8"))) for path in sorted(folder.glob("*.json"))
    }
    return {DEFAULT: found.pop(DEFAULT), **found}


def choose(languages: dict[str, PortalTexts], asked: str, accept: str) -> PortalTexts:
    """The language asked for by its tag, else the best in Accept-Language (RFC 9110, 12.5.4), else the default."""
    for tag in (asked, *_by_weight(accept)):
        found = _match(languages, tag)
        if found is not None:
            return found
    return languages[DEFAULT]


def _match(languages: dict[str, PortalTexts], tag: str) -> PortalTexts | None:
    prefix = tag.lower().partition("-")[0]
    exact = next((texts for known, texts in languages.items() if known.lower() == tag.lower()), None)
    return exact or next(
        (texts for known, texts in languages.items() if known.lower().partition("-")[0] == prefix), None
    )


def _by_weight(header: str) -> list[str]:
    weighted = []
    for part in header[:512].split(","):
        tag, _, parameter = part.partition(";")
        name, _, weight = parameter.strip().partition("=")
        try:
            quality = float(weight) if name.strip() == "q" else 1.0
        except ValueError:
            quality = 0.0
        if tag.strip() and quality > 0:
            weighted.append((quality, tag.strip()))
    return [tag for _, tag in sorted(weighted, key=lambda found: -found[0])]
