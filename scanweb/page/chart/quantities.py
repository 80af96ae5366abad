"""An indicator as a picture needs it: who has which figure, where a requirement reaches, and the words beside it.

Values are read by `zpcode.wire.quantity`, as the registry's rules read them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from scanweb.page.chart.labels import ELLIPSIS
from scanweb.page.plain import plain
from zpcode.language.messages import Messages
from zpcode.wire.card import IndicatorInfo
from zpcode.wire.quantity import FigureRange, fits_direction, is_nothing, required, span, spelling
from zpcode.wire.vocabulary import Bilingual

LONGEST: Final = 200
"""Of a text no more than this is looked at: no figure is longer, and no picture shows more."""
_DIRECTIONS: Final = frozenset({"ge", "le", "range"})


class Who(enum.StrEnum):
    """Whose value: this product's, its 浙江制造 standard's, the national or industry standard's, the benchmark's."""

    OWN = "own"
    STANDARD = "standard"
    NATIONAL = "national"
    BENCHMARK = "benchmark"


@dataclass(frozen=True, slots=True)
class Figure:
    """One value on the axis: from `low` to `high` (the same for a point), and how it is written."""

    who: Who
    low: Decimal
    high: Decimal
    shown: str


@dataclass(frozen=True, slots=True)
class IndicatorComparison:
    """The figures of one indicator, the product's among them; `need` is what its standard asks for, if it has one."""

    direction: str
    unit: str
    figures: tuple[Figure, ...]
    need: FigureRange | None

    def ends(self) -> list[Decimal]:
        """Every figure that has to be on the axis."""
        return [end for figure in self.figures for end in (figure.low, figure.high)]


def comparison(indicator: IndicatorInfo, t: Messages) -> IndicatorComparison | None:
    """The indicator's figures; None where it is one in words, or where any value there is cannot be read as a figure."""
    if indicator.direction not in _DIRECTIONS:
        return None
    figures, need = [], None
    for who, value in _values(indicator):
        text = (value.zh or value.en)[:LONGEST]
        found = span(text, indicator.unit)
        if found is None or not fits_direction(indicator.direction, found):
            return None
        if who is Who.STANDARD:
            need = required(indicator.direction, found)
        shown = _shown(spelling(text, indicator.unit), found, t)
        figures.append(Figure(who, *_drawn(indicator.direction, who, found), shown))
    if not figures or figures[0].who is not Who.OWN:
        return None
    return IndicatorComparison(indicator.direction, plain(indicator.unit.strip()[:LONGEST]), tuple(figures), need)


def wordings(indicator: IndicatorInfo, t: Messages) -> list[tuple[str, list[Who]]]:
    """Each different text of an indicator in words, and whose it is; the product's first."""
    found: dict[str, list[Who]] = {}
    for who, value in _values(indicator):
        text = t.pick(value)
        cut = text[:LONGEST] + ELLIPSIS if len(text) > LONGEST else text
        found.setdefault(" ".join(plain(cut).split()), []).append(who)
    return list(found.items())


def _values(indicator: IndicatorInfo) -> Iterator[tuple[Who, Bilingual]]:
    """The values there are; `/` and its like say that there is none."""
    values = (indicator.product, indicator.standard, indicator.national, indicator.benchmark)
    for who, value in zip(Who, values, strict=True):
        if not is_nothing(value.zh or value.en):
            yield who, value


def _drawn(direction: str, who: Who, found: FigureRange) -> tuple[Decimal, Decimal]:
    """From where to where a value is drawn. Under ge and le a limit is its one figure that decides."""
    deciding = found.high if direction == "le" else found.low
    both = direction == "range" or who is Who.OWN
    low = found.low if both and found.low is not None else deciding
    high = found.high if both and found.high is not None else deciding
    assert low is not None, "fits_direction has seen to it"  # noqa: S101
    assert high is not None  # noqa: S101
    return low, high


def _shown(spelled: str, found: FigureRange, t: Messages) -> str:
    """A value as the reader's language writes it: ≥60, 20±2, 30 to 50."""

    def figure(value: Decimal | str | None) -> str:
        return t.formats.number(Decimal(str(value).replace(",", "")))

    if "±" in spelled:
        middle, _, either_way = spelled.partition("±")
        return (figure(middle) if middle else "") + "±" + figure(either_way)
    if found.low is not None and found.high is not None:
        if "~" not in spelled and found.low == found.high:
            return figure(found.low)
        return t("chart.range", low=figure(found.low), high=figure(found.high))
    return spelled[0] + figure(found.high if found.low is None else found.low)
