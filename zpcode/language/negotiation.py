"""Content negotiation: language, page or JSON, gzip. One rule for API, portal and scan service. Pure.

Accept, Accept-Encoding and Accept-Language are lists of ranges with weights (RFC 9110, 12.4.2 and 12.5). A range that is
not well-formed is ignored. Only the first 512 characters of a header are read.

The rule for a language: the best match; else English for a reader who asks only for languages that are not Chinese;
else Chinese. Mandarin (`cmn`), Cantonese (`yue`) and the like are Chinese. A language with weight 0 is refused: it is
chosen only if the reader refuses every language of the service. A range matches by its primary subtag (RFC 4647, 3.4),
so `zh-TW` gets `zh-CN` and `en-GB` gets `en`. An underscore is read as a hyphen: some clients send `en_US`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

CHINESE: Final = "zh-CN"
ENGLISH: Final = "en"
MAX_HEADER: Final = 512
_CHINESE_LANGUAGES: Final = frozenset({"cmn", "gan", "hak", "hsn", "nan", "wuu", "yue"})
"""Languages of the macrolanguage `zh` (ISO 639-3) that CLDR matches with it. A phone in Cantonese sends `yue-Hant-HK`."""
_WEIGHT: Final = re.compile(r"[qQ]\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)

_RANGE: Final = re.compile(r"\*|[a-z]{1,8}(?:-[a-z0-9]{1,8})*", re.ASCII)
"""A language range (RFC 4647, 2.1)."""


def one_line(lines: Iterable[str]) -> str:
    """A header that was sent in several lines, as the one list that they are (RFC 9110, 5.3)."""
    return ",".join(lines)


def weighted(header: str) -> list[tuple[str, float]]:
    """The values of a header in lower case with their weights, 0.0 to 1.0, in the order of the header."""
    values = []
    for part in header[:MAX_HEADER].split(","):
        value, *parameters = (piece.strip() for piece in part.split(";"))
        matches = [_WEIGHT.fullmatch(one) for one in parameters if one[:1] in {"q", "Q"}]
        if value and all(matches):
            values.append((value.lower(), float(matches[0][1]) if matches and matches[0] else 1.0))
    return values


def matching_tag(tags: Sequence[str], named: str) -> str | None:
    """The tag among `tags` that a reader names (`?lang=`): the same tag, else one with the same primary subtag, else None."""
    lowered = named.lower().replace("_", "-")
    same = next((tag for tag in tags if tag.lower() == lowered), None)
    return same or next((tag for tag in tags if lowered and _primary(tag) == _primary(lowered)), None)


def choose_language(tags: Sequence[str], accept_language: str, named: str = "") -> str:
    """The tag among `tags` for a request that names a tag, or else by its header.

    `tags` contains CHINESE and ENGLISH. The first of `tags` is chosen if the header accepts all of them equally.
    """
    match = matching_tag(tags, named)
    if match is not None:
        return match
    values = ((value.replace("_", "-"), weight) for value, weight in weighted(accept_language))
    ranges = [(value, weight) for value, weight in values if _RANGE.fullmatch(value)]
    exact = {value for value, _ in ranges}
    if not ranges:
        return CHINESE
    best = max(tags, key=lambda tag: (_weight(tag, ranges) or 0.0, -_position(tag, ranges), tag.lower() in exact))
    if _weight(best, ranges):
        return best
    not_named = (tag for tag in (ENGLISH, CHINESE, *tags) if _weight(tag, ranges) is None)
    return next(not_named, ENGLISH)


def _primary(tag: str) -> str:
    language = tag.lower().partition("-")[0]
    return "zh" if language in _CHINESE_LANGUAGES else language


def _weight(tag: str, ranges: Sequence[tuple[str, float]]) -> float | None:
    """The weight of a tag in a header: of the tag itself, else of its language, else of every language (`*`), else None.

    0 means that the reader refuses the tag; None, that the header does not name it.
    """
    for weights in (
        [weight for value, weight in ranges if value == tag.lower()],
        [weight for value, weight in ranges if _primary(value) == _primary(tag)],
        [weight for value, weight in ranges if value == "*"],
    ):
        if weights:
            return max(weights)
    return None


def _position(tag: str, ranges: Sequence[tuple[str, float]]) -> int:
    """The position of the first range with a tag's language; the length of the header if there is none."""
    positions = [index for index, (value, _) in enumerate(ranges) if _primary(value) == _primary(tag)]
    return positions[0] if positions else len(ranges)


class Languages:
    """The languages of a service, with a cached choice among them for each request."""

    def __init__(self, tags: tuple[str, ...]) -> None:
        self.tags = tags
        self.choose = lru_cache(maxsize=1024)(self._choose)

    def _choose(self, named: str, accept_language: str) -> str:
        return choose_language(self.tags, accept_language, named)


@lru_cache(maxsize=1024)
def wants_json(accept: str, named: str) -> bool:
    """Whether a request asks for JSON rather than the page: by `?format=`, or else by Accept (RFC 9110, 12.5.1)."""
    if named:
        return named == "json"
    weights: dict[str, float] = {}
    for value, weight in weighted(accept):
        weights[value] = max(weight, weights.get(value, 0.0))
    page = max(weights.get("text/html", 0.0), weights.get("application/xhtml+xml", 0.0))
    return weights.get("application/json", 0.0) > page


@lru_cache(maxsize=256)
def takes_gzip(accept_encoding: str) -> bool:
    """Whether a request accepts a gzip response (RFC 9110, 12.5.3)."""
    return any(value == "gzip" and weight > 0 for value, weight in weighted(accept_encoding))
