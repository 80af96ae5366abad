"""What a scan was answered with, and whether it should have been: two pure functions.

A user of a load test reads what it is told. Two findings fail a run whatever its thresholds say: a withdrawn code
shown good, and a forged one accepted (`GRAVE`).
"""

from __future__ import annotations

import enum
import json
import re
from typing import Final

_TONE: Final = re.compile(rb'<section class="verdict (good|caution|bad|neutral)"')


class What(enum.StrEnum):
    """What was scanned, as far as whoever scans it can know."""

    GENUINE = "genuine"  # issued, and nobody has decided anything against it
    WITHDRAWN = "withdrawn"  # recalled or revoked, and this was seen before the scan began
    CHANGING = "changing"  # a decision is being made just now
    UNSEALED = "unsealed"  # a real number without its seal, or typed by hand
    FORGED = "forged"  # a wrong seal, or a number nobody issued
    PREVIEW = "preview"  # not looked at by a person: HEAD


class Said(enum.StrEnum):
    """What was said. The first four are tones of a verdict."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"
    NEUTRAL = "neutral"
    NOT_VERIFIED = "not_verified"
    HEADERS = "headers"
    TOO_MANY = "too_many"
    ERROR = "error"  # 5xx
    UNREADABLE = "unreadable"
    NOTHING = "nothing"  # no answer at all


_RIGHT: Final = {
    What.GENUINE: {Said.GOOD},
    What.WITHDRAWN: {Said.BAD},
    What.CHANGING: {Said.GOOD, Said.BAD},
    What.UNSEALED: {Said.CAUTION},
    What.FORGED: {Said.NOT_VERIFIED},
    What.PREVIEW: {Said.HEADERS},
}
# A withdrawn code that is shown good, and a code nobody issued that is answered as if somebody had.
GRAVE: Final = {
    "withdrawn_shown_good": {(What.WITHDRAWN, Said.GOOD)},
    "forged_accepted": {(What.FORGED, Said.GOOD), (What.FORGED, Said.CAUTION), (What.FORGED, Said.BAD),
                        (What.UNSEALED, Said.GOOD)},
}  # fmt: skip


def said(method: str, status: int, body: bytes, *, as_json: bool) -> Said:
    """What an answer says. Status 0 is no answer; a body that is neither our page nor our JSON is unreadable."""
    if status in _OTHER:
        return _OTHER[status]
    if status >= 500:
        return Said.ERROR
    if status != 200:
        return Said.UNREADABLE
    if method == "HEAD":
        return Said.HEADERS
    return _json_tone(body) if as_json else _page_tone(body)


_OTHER: Final = {0: Said.NOTHING, 400: Said.NOT_VERIFIED, 404: Said.NOT_VERIFIED, 429: Said.TOO_MANY}


def _page_tone(body: bytes) -> Said:
    found = _TONE.search(body)
    return Said.UNREADABLE if found is None else Said(found[1].decode("ascii"))


def _json_tone(body: bytes) -> Said:
    try:
        return Said(json.loads(body)["tone"])
    except (ValueError, KeyError, TypeError):
        return Said.UNREADABLE


def is_right(what: What, told: Said, *, in_a_hurry: bool = False) -> bool:
    """Whether this is what had to be said. Somebody `in_a_hurry` may be told to wait; nobody else may."""
    return told in _RIGHT[what] or (in_a_hurry and told is Said.TOO_MANY)


def seen(before: What, after: What) -> What:
    """What was scanned, where what is known of it changed while the answer was under way."""
    return before if before is after else What.CHANGING
