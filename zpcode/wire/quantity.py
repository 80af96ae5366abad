"""Values of indicators: parse `≥ 30`, `30~50`, `±0.02` into ranges, and compare ranges.

The registry's rules check values with it, and the chart of the scan page draws them, so both parse a value in the same
way. Figures are `Decimal`, so 0.30 equals 0.3 and nothing is rounded. A value is a range: `≥ 30` is 30 and above, `20±2`
is 18 to 22, `0.02` is one point.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from zpcode.language.normalization import normalized_if_safe

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
    """A range of figures. None means no bound on that side; `*_open` excludes the bound itself."""

    low: Decimal | None
    high: Decimal | None
    low_open: bool = False
    high_open: bool = False

    def reaches_up_from(self, other: FigureRange) -> bool:
        """Whether no figure of this range is below the lower bound of `other`."""
        if other.low is None:
            return True
        if self.low is None:
            return False
        return self.low > other.low or (self.low == other.low and (self.low_open or not other.low_open))

    def reaches_down_from(self, other: FigureRange) -> bool:
        """Whether no figure of this range is above the upper bound of `other`."""
        if other.high is None:
            return True
        if self.high is None:
            return False
        return self.high < other.high or (self.high == other.high and (self.high_open or not other.high_open))


def is_nothing(text: str) -> bool:
    """Whether a text means that there is no value: `/`, `—`, `无要求` …."""
    return text.strip().casefold() in _NOTHING


def span(text: str, unit: str = "") -> FigureRange | None:
    """The range of a value, or None if the text has no figure.

    The unit has its own column; if it is repeated after the value, it is ignored.
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
    """A value in the spelling that `span` parses: half width, no spaces, one sign for each meaning (`≥`, `~`, `±`), no unit.

    Empty if the value has superscript figures, which would be parsed as part of the number.
    """
    return "" if _RAISED.search(text) else _plain(text).removesuffix(_plain(unit))


def _plain(text: str) -> str:
    plain = re.sub(r"\s", "", normalized_if_safe("NFKC", text))
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
    """Whether a range has the bounds that a direction needs: `≤ 5` has none for `ge`, and `≥ 5` not both for `range`."""
    if direction == "ge":
        return value.low is not None
    if direction == "le":
        return value.high is not None
    return value.low is not None and value.high is not None


def required(direction: str, standard: FigureRange) -> FigureRange:
    """The range that a standard's value requires in a direction: `30` means ≥ 30 for `ge` and ≤ 30 for `le`."""
    if direction == "ge":
        return FigureRange(standard.low, None, low_open=standard.low_open)
    if direction == "le":
        return FigureRange(None, standard.high, high_open=standard.high_open)
    return standard


def meets(direction: str, product: FigureRange, standard: FigureRange) -> bool:
    """Whether every figure of the product's value satisfies the standard's value."""
    need = required(direction, standard)
    return product.reaches_up_from(need) and product.reaches_down_from(need)
