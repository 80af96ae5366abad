"""The GS1 element strings of a code: GTIN (AI 01), lot (AI 10), serial (AI 21).

GS1 General Specifications, sections 3.2 and 7.9 (check digit); GS1 Digital Link URI Syntax 1.4.
"""

from __future__ import annotations

import re
from functools import lru_cache

from stdnum import ean

_GTIN14 = re.compile(r"[0-9]{14}", re.ASCII)
_LOT = re.compile(r"[0-9A-Z.-]{1,20}", re.ASCII)

AI_GTIN = "01"
AI_LOT = "10"
AI_SERIAL = "21"


@lru_cache(maxsize=16_384)
def is_gtin14(text: str) -> bool:
    """Whether text is 14 ASCII digits with a correct check digit. Results are cached, because scans repeat products."""
    return _GTIN14.fullmatch(text) is not None and ean.is_valid(text)


def is_lot(text: str) -> bool:
    """Whether text is a lot that this service prints: 1 to 20 of `[0-9A-Z.-]`, all QR alphanumeric.

    `.` and `..` are not allowed: a browser removes them from a path before it sends the request (RFC 3986, 5.2.4).
    """
    return _LOT.fullmatch(text) is not None and text not in {".", ".."}


def gtin14(text: str) -> str | None:
    """A GTIN-8, -12, -13 or -14 as 14 digits, or None if it is not one."""
    padded = text.rjust(14, "0")
    return padded if len(text) in {8, 12, 13, 14} and is_gtin14(padded) else None
