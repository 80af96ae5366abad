"""Indicator values: reading `≥ 30`, `30~50`, `±0.02`, and whether a product meets its own standard.

Figures are `Decimal`, so 0.30 is 0.3 and nothing is rounded. A value is a span: what is at least 30
reaches from 30 upwards, 20±2 from 18 to 22, a bare 0.02 is one point.

Text indicators are compared only where both values are grades. Equal grades are met. Two different
grades of one ladder that Chinese product standards order (优等品 > 一等品 > 合格品; 特级 > 一级 > 二级 …)
are compared on it. Two other different grades cannot be: in some standards 1 is the best, in others the
worst; such an indicator is refused with the advice to give it a direction. Other texts are description.
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
_LADDERS: Final = (("优等品", "一等品", "合格品"), ("特级", "一级", "二级", "三级", "四级", "五级"))
_GRADE = re.compile(
    r"(?:[A-Z]{1,3}|[0-9](?:-[0-9])?|[一二三四五六七八九十特优])\+{0,3}级|(?:GRADE|CLASS)(?:[A-E]|[0-9]{1,2}|I{1,3})|[优一二三]等品|合格品"
)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of figures; None is no bound on that side, `*_open` leaves the bound itself out."""

    low: Decimal | None
    high: Decimal | None
    low_open: bool = False
    high_open: bool = False

    def reaches_up_from(self, other: Span) -> bool:
        """Whether nothing of this lies below the lower bound of `other`."""
        if other.low is None:
            return True
        if self.low is None:
            return False
        return self.low > other.low or (self.low == other.low and (self.low_open or not other.low_open))

    def reaches_down_from(self, other: Span) -> bool:
        """Whether nothing of this lies above the upper bound of `other`."""
        if other.high is None:
            return True
        if self.high is None:
            return False
        return self.high < other.high or (self.high == other.high and (self.high_open or not other.high_open))


def is_nothing(text: str) -> bool:
    """Whether a value is one of the ways to say that there is none: `/`, `—`, `无要求` …."""
    return text.strip().casefold() in _NOTHING


def span(text: str, unit: str = "") -> Span | None:
    """The span behind a value, or None where it is not a figure.

    The unit belongs beside the value, in its own column; the same unit repeated after it is read over.
    """
    if _RAISED.search(text):
        return None
    plain = _plain(text).removesuffix(_plain(unit))
    for pattern, read in ((_BOUND, _bound), (_TOLERANCE, _tolerance), (_RANGE, _range)):
        match = pattern.fullmatch(plain)
        if match is not None:
            return read(match)
    if _POINT.fullmatch(plain):
        return Span(_decimal(plain), _decimal(plain))
    return None


def _plain(text: str) -> str:
    plain = re.sub(r"\s", "", unicodedata.normalize("NFKC", text))
    for pattern, sign in _SPELLINGS:
        plain = pattern.sub(sign, plain)
    return plain


def _decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _bound(match: re.Match[str]) -> Span:
    sign, figure = match[1], _decimal(match[2])
    if sign in "≥>":
        return Span(figure, None, low_open=sign == ">")
    return Span(None, figure, high_open=sign == "<")


def _tolerance(match: re.Match[str]) -> Span:
    middle, either_way = _decimal(match[1] or "0"), _decimal(match[2])
    return Span(middle - either_way, middle + either_way)


def _range(match: re.Match[str]) -> Span | None:
    low, high = (_decimal(part) for part in match.groups() if part is not None)
    return Span(low, high) if low <= high else None


def _as_floor(value: Span) -> Span:
    """A standard's value of direction `ge`: a bare 30 means ≥ 30."""
    return Span(value.low, None, low_open=value.low_open)


def _as_ceiling(value: Span) -> Span:
    """A standard's value of direction `le`: a bare 30 means ≤ 30."""
    return Span(None, value.high, high_open=value.high_open)


def fits_direction(direction: str, value: Span) -> bool:
    """Whether a span can be read in a direction: `≤ 5` cannot under ge, nor `≥ 5` under range."""
    if direction == "ge":
        return value.low is not None
    if direction == "le":
        return value.high is not None
    return value.low is not None and value.high is not None


def meets(direction: str, product: Span, standard: Span) -> bool:
    """Whether every figure of the product's value satisfies the standard's."""
    if direction == "ge":
        return product.reaches_up_from(_as_floor(standard))
    if direction == "le":
        return product.reaches_down_from(_as_ceiling(standard))
    return product.reaches_up_from(standard) and product.reaches_down_from(standard)


def is_grade(text: str) -> bool:
    """Whether a text is a bare grade: 一级, A级, 4-5级, 优等品, Class 1."""
    return _GRADE.fullmatch(_grade(text)) is not None


def _grade(text: str) -> str:
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", text)).upper()


def grade_meets(product: str, standard: str) -> bool | None:
    """Whether one grade is at least another; None where no ladder orders the two."""
    left, right = _grade(product), _grade(standard)
    if left == right:
        return True
    for ladder in _LADDERS:
        if left in ladder and right in ladder:
            return ladder.index(left) < ladder.index(right)
    return None
