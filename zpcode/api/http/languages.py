"""Which of the two languages a request is answered in (RFC 9110, 12.5.4)."""

from __future__ import annotations

import re
from typing import Final

CHINESE: Final = "zh"
ENGLISH: Final = "en"
_LONGEST = 200  # of a header; browsers send some fifty characters
_RANGE = re.compile(
    r"\s*(\*|[a-z]{1,8})(?:-[a-z0-9-]*)?\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?))?\s*", re.ASCII
)


def preferred(accept_language: str | None) -> str:
    """`zh` or `en` for an Accept-Language header: by weight, then by order.

    Chinese where nothing is asked for, or anything will do; English to whoever asks only for other languages.
    Ranges that are not well-formed are left out.
    """
    ranges = _ranges((accept_language or "")[:_LONGEST])
    if not ranges:
        return CHINESE
    chinese, english = _weight(CHINESE, ranges), _weight(ENGLISH, ranges)
    if chinese == english == 0:
        return ENGLISH
    if chinese == english:
        return next((tag for tag, _ in ranges if tag in {CHINESE, ENGLISH}), CHINESE)
    return CHINESE if chinese > english else ENGLISH


def _ranges(header: str) -> list[tuple[str, float]]:
    """Primary subtag and weight of each language range: `zh-CN;q=0.8` → zh, 0.8."""
    found = (_RANGE.fullmatch(part) for part in header.lower().split(","))
    return [(match[1], float(match[2] or 1)) for match in found if match]


def _weight(language: str, ranges: list[tuple[str, float]]) -> float:
    """What is said of a language, else what is said of all others (`*`), else nothing."""
    own = [weight for tag, weight in ranges if tag == language]
    return max(own or [weight for tag, weight in ranges if tag == "*"], default=0.0)
