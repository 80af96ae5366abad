"""Messages on standard error, in Chinese and English."""

from __future__ import annotations

import sys

from zpcode.errors import Text


def step(zh: str, en: str) -> None:
    """One line of progress."""
    sys.stderr.write(f"· {zh} / {en}\n")
    sys.stderr.flush()


def refused(text: Text) -> None:
    """The reason why nothing was done."""
    sys.stderr.write(f"{text.zh}\n{text.en}\n")
