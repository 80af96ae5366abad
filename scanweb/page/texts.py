"""Where the words of the page lie: `i18n/TAG.json`, one file for each language."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from zpcode.language import messages
from zpcode.language.messages import Messages
from zpcode.wire.calendar import SHANGHAI

_FOLDER: Final = Path(__file__).parent / "i18n"


def load() -> dict[str, Messages]:
    """All languages by tag, Chinese first; times are shown in Shanghai."""
    return messages.load(SHANGHAI, _FOLDER)
