"""The values of an indicator for its chart: the figures, the range that the standard requires, or the texts.

Values are parsed by `zpcode.wire.quantity`, as in the rules of the registry.
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

MAX_TEXT: Final = 200
"""Characters of a text that are used: no figure is longer, and no chart shows more."""
_DIRECTIONS: Final = frozenset({"ge", "le", "range"})


class ValueSource(enum.StrEnum):
    """Where a value comes from: this product, its 浙江制造 standard, the national or industry standard, the benchmark."""

    OWN = "own"
    STANDARD = "standard"
    NATIONAL = "national"
    BENCHMARK = "benchmark"


@dataclass(frozen=True, slots=True)
class Figure:
    """One value on the axis, from `low` to `high` (equal for a point), and its text."""

    source: ValueSource
    low: Decimal
    high: Decimal
    shown: str


@dataclass(frozen=True, slots=True)
class IndicatorComparison:
    """The figures of one indicator, the product's first; `need` is the range that its standard requires (None: no standard)."""

    direction: str
    unit: str
    figures: tuple[Figure, ...]
    need: FigureRange | None

    def ends(self) -> list[Decimal]:
        """All figures that the axis has to include."""
        return [end for figure in self.figures for end in (figure.low, figure.high)]


def comparison(indicator: IndicatorInfo, t: Messages) -> IndicatorComparison | None:
    """The figures of an indicator; None for an indicator in words, or if a value cannot be parsed as a figure."""
    if indicator.direction not in _DIRECTIONS:
        return None
    figures, need = [], None
    for source, value in _values(indicator):
        text = (value.zh or value.en)[:MAX_TEXT]
        value_range = span(text, indicator.unit)
        if value_range is None or not fits_direction(indicator.direction, value_range):
            return None
        if source is ValueSource.STANDARD:
            need = required(indicator.direction, value_range)
        shown = _shown(spelling(text, indicator.unit), value_range, t)
        figures.append(Figure(source, *_drawn(indicator.direction, source, value_range), shown))
    if not figures or figures[0].source is not ValueSource.OWN:
        return None
    return IndicatorComparison(indicator.direction, plain(indicator.unit.strip()[:MAX_TEXT]), tuple(figures), need)


def wordings(indicator: IndicatorInfo, t: Messages) -> list[tuple[str, list[ValueSource]]]:
    """The different texts of an indicator in words, each with its sources; the product's text first."""
    texts: dict[str, list[ValueSource]] = {}
    for source, value in _values(indicator):
        text = t.pick(value)
        cut = text[:MAX_TEXT] + ELLIPSIS if len(text) > MAX_TEXT else text
        texts.setdefault(" ".join(plain(cut).split()), []).append(source)
    return list(texts.items())


def _values(indicator: IndicatorInfo) -> Iterator[tuple[ValueSource, Bilingual]]:
    """The values that exist; `/` and similar texts mean that there is none."""
    values = (indicator.product, indicator.standard, indicator.national, indicator.benchmark)
    for source, value in zip(ValueSource, values, strict=True):
        if not is_nothing(value.zh or value.en):
            yield source, value


def _drawn(direction: str, source: ValueSource, value: FigureRange) -> tuple[Decimal, Decimal]:
    """The ends of a drawn value. For ge and le, a limit is drawn as the one figure that decides."""
    deciding = value.high if direction == "le" else value.low
    both = direction == "range" or source is ValueSource.OWN
    low = value.low if both and value.low is not None else deciding
    high = value.high if both and value.high is not None else deciding
    assert low is not None, "fits_direction has checked it"  # noqa: S101
    assert high is not None  # noqa: S101
    return low, high


def _shown(spelled: str, value: FigureRange, t: Messages) -> str:
    """A value in the format of the reader's language: ≥60, 20±2, 30 to 50."""

    def figure(number: Decimal | str | None) -> str:
        return t.formats.number(Decimal(str(number).replace(",", "")))

    if "±" in spelled:
        middle, _, either_way = spelled.partition("±")
        return (figure(middle) if middle else "") + "±" + figure(either_way)
    if value.low is not None and value.high is not None:
        if "~" not in spelled and value.low == value.high:
            return figure(value.low)
        return t("chart.range", low=figure(value.low), high=figure(value.high))
    return spelled[0] + figure(value.high if value.low is None else value.low)
