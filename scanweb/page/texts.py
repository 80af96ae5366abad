"""The texts of the page: `i18n/TAG.json`, one file for each language."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from zpcode.language import messages
from zpcode.language.messages import Messages
from zpcode.wire.calendar import SHANGHAI

_FOLDER: Final = Path(__file__).parent / "i18n"


def load() -> dict[str, Messages]:
    """The texts of all languages by tag, Chinese first. Times are shown in Shanghai time."""
    return messages.load(SHANGHAI, _FOLDER)
