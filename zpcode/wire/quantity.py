"""Values of indicators: reading `≥ 30`, `30~50`, `±0.02`, and whether one figure satisfies another.

The registry's rules judge figures with it, the scan page's picture draws them: both must read a value the same way.
Figures are `Decimal`, so 0.30 is 0.3 and nothing is rounded. A value is a span: what is at least 30
reaches from 30 upwards, 20±2 from 18 to 22, a bare 0.02 is one point.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3}){1,6}|[0-9]{1,24})(?:\.[0-9]{1,24})?(?:[eE][+-]?[0-9]{1,2})?"
_SIGNED = rf"[+-]?{_NUMBER}"
_BOUND = re.compile(rf"([≥>≤<])({_SIGNED})", re.ASCII)
_TOLERANCE = re.compile(rf"({_SIGNED})?±({_NUMBER})", re.ASCII)
_RANGE = re.compile(rf"({_SIGNED})~({_SIGNED})|({_NUMBER})-({_NUMBER})", re.ASCII)
_POINT = re.compile(_SIGNED, re.ASCII)
_RAISED = re.compile("[⁰¹²³⁴-₎]")  # NFKC would read 10⁶ as 106
_SPELLINGS = (
    (re.compile("≧|⩾|>=|不小于|不少于|不低于|大于等于|大于或等于"), "≥"),
    (re.compile("≦|⩽|<=|不大于|不超过|不高于|小于等于|小于或等于"), "≤"),
    (re.compile("大于|超过"), ">"),
    (re.compile("小于|低于"), "<"),
    (re.compile(r"\+/-|\+-"), "±"),
    (re.compile("[‐‑‒–−]"), "-"),
    (re.compile("[—―〜～∼至到]+"), "~"),
)
_NOTHING: Final = frozenset({"", "/", "-", "--", "—", "——", "无", "无要求", "未规定", "none", "n/a"})


@dataclass(frozen=True, slots=True)
class FigureRange:
    """A stretch of figures; None is no bound on that side, `*_open` leaves the bound itself out."""

    low: Decimal | None
    high: Decimal | None
    low_open: bool = False
    high_open: bool = False

    def reaches_up_from(self, other: FigureRange) -> bool:
        """Whether nothing of this lies below the lower bound of `other`."""
        if other.low is None:
            return True
        if self.low is None:
            return False
        return self.low > other.low or (self.low == other.low and (self.low_open or not other.low_open))

    def reaches_down_from(self, other: FigureRange) -> bool:
        """Whether nothing of this lies above the upper bound of `other`."""
        if other.high is None:
            return True
        if self.high is None:
            return False
        return self.high < other.high or (self.high == other.high and (self.high_open or not other.high_open))


def is_nothing(text: str) -> bool:
    """Whether a value is one of the ways to say that there is none: `/`, `—`, `无要求` …."""
    return text.strip().casefold() in _NOTHING


def span(text: str, unit: str = "") -> FigureRange | None:
    """The span behind a value, or None where it is not a figure.

    The unit belongs beside the value, in its own column; the same unit repeated after it is read over.
    """
    plain = spelling(text, unit)
    for pattern, read in ((_BOUND, _bound), (_TOLERANCE, _tolerance), (_RANGE, _range)):
        match = pattern.fullmatch(plain)
        if match is not None:
            return read(match)
    if _POINT.fullmatch(plain):
        return FigureRange(_decimal(plain), _decimal(plain))
    return None


def spelling(text: str, unit: str = "") -> str:
    """A value as `span` reads it: half width, no spaces, one sign for each meaning (`≥`, `~`, `±`), without its unit.

    Empty where a raised figure would be read as part of the number.
    """
    return "" if _RAISED.search(text) else _plain(text).removesuffix(_plain(unit))


def _plain(text: str) -> str:
    plain = re.sub(r"\s", "", unicodedata.normalize("NFKC", text))
    for pattern, sign in _SPELLINGS:
        plain = pattern.sub(sign, plain)
    return plain


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _bound(match: re.Match[str]) -> FigureRange:
    sign, figure = match[1], _decimal(match[2])
    if sign in "≥>":
        return FigureRange(figure, None, low_open=sign == ">")
    return FigureRange(None, figure, high_open=sign == "<")


def _tolerance(match: re.Match[str]) -> FigureRange:
    middle, either_way = _decimal(match[1] or "0"), _decimal(match[2])
    return FigureRange(middle - either_way, middle + either_way)


def _range(match: re.Match[str]) -> FigureRange | None:
    low, high = (_decimal(part) for part in match.groups() if part is not None)
    return FigureRange(low, high) if low <= high else None


def fits_direction(direction: str, value: FigureRange) -> bool:
    """Whether a span can be read in a direction: `≤ 5` cannot under ge, nor `≥ 5` under range."""
    if direction == "ge":
        return value.low is not None
    if direction == "le":
        return value.high is not None
    return value.low is not None and value.high is not None


def required(direction: str, standard: FigureRange) -> FigureRange:
    """What a standard's value asks for in a direction: a bare 30 means ≥ 30 under ge, ≤ 30 under le."""
    if direction == "ge":
        return FigureRange(standard.low, None, low_open=standard.low_open)
    if direction == "le":
        return FigureRange(None, standard.high, high_open=standard.high_open)
    return standard


def meets(direction: str, product: FigureRange, standard: FigureRange) -> bool:
    """Whether every figure of the product's value satisfies the standard's."""
    need = required(direction, standard)
    return product.reaches_up_from(need) and product.reaches_down_from(need)
