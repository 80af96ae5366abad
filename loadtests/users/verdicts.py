"""Reads the answer to a scan, and says whether it is right. Pure.

Two kinds of wrong answer fail a run regardless of its thresholds: a withdrawn code shown good, and a forged code accepted
(`FORBIDDEN`).
"""

from __future__ import annotations

import enum
import json
import re
from typing import Final

_TONE: Final = re.compile(rb'<section class="verdict (good|caution|bad|neutral)"')


class ScanKind(enum.StrEnum):
    """What was scanned, as far as the virtual user can know."""

    GENUINE = "genuine"  # issued, without a decision against it
    WITHDRAWN = "withdrawn"  # recalled or revoked, and a scan has already shown it
    CHANGING = "changing"  # a decision is being made
    UNSEALED = "unsealed"  # a real serial without its seal, or typed by hand
    FORGED = "forged"  # a wrong seal, or a serial that was not issued
    PREVIEW = "preview"  # a HEAD request of a program


class Answer(enum.StrEnum):
    """What the answer says. The first four are tones of a verdict."""

    GOOD = "good"
    CAUTION = "caution"
    BAD = "bad"
    NEUTRAL = "neutral"
    NOT_VERIFIED = "not_verified"
    HEADERS = "headers"
    TOO_MANY = "too_many"
    ERROR = "error"  # 5xx
    UNREADABLE = "unreadable"
    NOTHING = "nothing"  # no answer


_RIGHT: Final = {
    ScanKind.GENUINE: {Answer.GOOD},
    ScanKind.WITHDRAWN: {Answer.BAD},
    ScanKind.CHANGING: {Answer.GOOD, Answer.BAD},
    ScanKind.UNSEALED: {Answer.CAUTION},
    ScanKind.FORGED: {Answer.NOT_VERIFIED},
    ScanKind.PREVIEW: {Answer.HEADERS},
}
# A withdrawn code shown good, and a code that was not issued but is accepted.
FORBIDDEN: Final = {
    "withdrawn_shown_good": {(ScanKind.WITHDRAWN, Answer.GOOD)},
    "forged_accepted": {(ScanKind.FORGED, Answer.GOOD), (ScanKind.FORGED, Answer.CAUTION), (ScanKind.FORGED, Answer.BAD),
                        (ScanKind.UNSEALED, Answer.GOOD)},
}  # fmt: skip


def read_answer(method: str, status: int, body: bytes, *, as_json: bool) -> Answer:
    """What a response says. Status 0 is no response; a body that is neither the scan page nor its JSON is unreadable."""
    if status in _OTHER:
        return _OTHER[status]
    if status >= 500:
        return Answer.ERROR
    if status != 200:
        return Answer.UNREADABLE
    if method == "HEAD":
        return Answer.HEADERS
    return _json_tone(body) if as_json else _page_tone(body)


_OTHER: Final = {0: Answer.NOTHING, 400: Answer.NOT_VERIFIED, 404: Answer.NOT_VERIFIED, 429: Answer.TOO_MANY}


def _page_tone(body: bytes) -> Answer:
    match = _TONE.search(body)
    return Answer.UNREADABLE if match is None else Answer(match[1].decode("ascii"))


def _json_tone(body: bytes) -> Answer:
    try:
        return Answer(json.loads(body)["tone"])
    except (ValueError, KeyError, TypeError):
        return Answer.UNREADABLE


def is_right(kind: ScanKind, answer: Answer, *, may_be_limited: bool = False) -> bool:
    """Whether the answer is right for what was scanned. With `may_be_limited`, 429 is right as well."""
    return answer in _RIGHT[kind] or (may_be_limited and answer is Answer.TOO_MANY)


def kind_during(before: ScanKind, after: ScanKind) -> ScanKind:
    """The kind of a scan during which the ledger may have changed: `before` it, and `after` it."""
    return before if before is after else ScanKind.CHANGING
