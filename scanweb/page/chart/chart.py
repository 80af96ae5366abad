"""The chart of an indicator: this product, its standard, the national standard and the benchmark on one axis.

The chart is hidden from screen readers: the table beside it says the same in words. A mark is recognised by its shape and
label; colour only adds to that. The chart decides nothing: the shaded part of the axis is the range that the product's
standard requires, and for indicators in words the chart only shows which texts are equal.

Classes for the style sheet: `chart` (the whole chart), `c-own c-standard c-national c-benchmark` (marks), `c-track`,
`c-need` (the axis and the required range), `c-line` (from a mark to its label), `c-big` (the product's value), `c-said`
(the product's text), `c-left` and `c-right` (texts aligned left or right; all other texts are centred), `key` (one entry
of the legend).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from markupsafe import Markup, escape

from scanweb.page.chart import shapes
from scanweb.page.chart.axis import Axis, axis
from scanweb.page.chart.labels import GAP, LabelPosition, arrange, shortened, width
from scanweb.page.chart.quantities import Figure, IndicatorComparison, ValueSource, comparison, wordings
from scanweb.page.chart.shapes import n
from zpcode.language.messages import Messages
from zpcode.wire.card import IndicatorInfo

WIDE: Final = 312.0
"""The width of a chart. At 312 CSS pixels the font sizes are 13 and 15 pixels."""
SMALL: Final = 13.0
BIG: Final = 15.0
_ROW: Final = 16.0
_TOP: Final = 14.0  # baseline of the first row of text
_TRACK: Final = 26.0  # from there to the middle of the axis
_LABELS: Final = 27.0  # from the middle of the axis to the baseline of the first labels
_FREE: Final = shapes.BESIDE + 5  # between the axis and the figures at its ends
_END: Final = 64.0  # maximum width of such a figure
_MAX_MOVED: Final = 40.0  # maximum distance of the product's value from its mark
_MAX_SLANT: Final = 24.0  # a line that runs further sideways is not drawn
_COLUMN: Final = 19.0  # column width of the shapes of an indicator in words
_LINE: Final = 23.0
_NAMES: Final = {
    ValueSource.OWN: "indicators.product",
    ValueSource.STANDARD: "indicators.standard",
    ValueSource.NATIONAL: "indicators.national",
    ValueSource.BENCHMARK: "indicators.benchmark",
}
_SHORT: Final = {
    ValueSource.OWN: "chart.own",
    ValueSource.STANDARD: "chart.standard",
    ValueSource.NATIONAL: "chart.national",
    ValueSource.BENCHMARK: "chart.benchmark",
}
_WAYS: Final = {"ge": "chart.ge", "le": "chart.le", "range": "chart.band"}


def chart(indicator: IndicatorInfo, t: Messages) -> Markup:
    """The chart of one indicator; empty where it has no values."""
    compared = comparison(indicator, t)
    if compared is not None:
        return _on_an_axis(compared, t)
    texts = wordings(indicator, t)
    return _in_words(texts) if texts else Markup()


def legend(t: Messages) -> Markup:
    """The legend of the shapes, shown once on a page before the first chart."""
    entries = [(shapes.mark_alone(source, 8, 8), t(_NAMES[source])) for source in ValueSource]
    entries.append((shapes.box("c-track", 0, 4, 16, 8) + shapes.box("c-need", 6, 4, 10, 8), t("chart.need")))
    key = '<span class="key"><svg viewBox="-1 -2 18 20" focusable="false">{}</svg>{}</span>'
    return Markup(" ".join(key.format(drawn, escape(words)) for drawn, words in entries))  # noqa: S704 - escaped here


# On an axis -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Label:
    """The label of one mark, or of several marks with the same value: name, value, and the marks' edges."""

    sources: tuple[ValueSource, ...]
    name: str
    value: str
    left: float
    right: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    @property
    def width(self) -> float:
        return width(f"{self.name} ", SMALL) + width(self.value, SMALL, bold=True)


def _on_an_axis(compared: IndicatorComparison, t: Messages) -> Markup:
    ends = axis(compared.ends(), compared.unit)
    low, high = (shortened(t.formats.number(end), SMALL, _END) for end in (ends.low, ends.high))
    scale = replace(ends, left=width(low, SMALL) + _FREE, right=WIDE - width(high, SMALL) - _FREE)
    words, top = _own_words(compared, scale, t)
    middle = top + _TRACK
    labels = _labels(compared, scale, t)
    places = arrange([label.middle for label in labels], [label.width for label in labels], WIDE)
    first = middle + _LABELS
    drawn = [
        words,
        shapes.text("c-left", 0, middle + 4.5, low),
        shapes.text("c-right", WIDE, middle + 4.5, high),
        _track(compared, scale, middle),
        *(shapes.mark(one.source, scale.at(one.low), scale.at(one.high), middle) for one in reversed(compared.figures)),
        _lines(labels, places, middle),
        *(
            shapes.text("", place.middle, first + _ROW * place.row, f"{label.name} ", label.value)
            for label, place in zip(labels, places, strict=True)
        ),
    ]
    return shapes.picture(WIDE, first + _ROW * max((place.row for place in places), default=0) + 5, drawn)


def _track(compared: IndicatorComparison, scale: Axis, middle: float) -> str:
    drawn = shapes.box("c-track", scale.left, middle - 4, scale.right - scale.left, 8)
    need = compared.need
    if need is not None:
        left = scale.left if need.low is None else scale.at(need.low)
        right = scale.right if need.high is None else scale.at(need.high)
        drawn += shapes.box("c-need", left, middle - 4, max(right - left, 2), 8)
    return drawn + shapes.lines("".join(f"M{n(scale.at(power))} {n(middle - 4)}v8" for power in scale.powers()))


def _own_words(compared: IndicatorComparison, scale: Axis, t: Messages) -> tuple[str, float]:
    """The product's value above its mark, with the better direction beside it; and the baseline of the value.

    They take two rows where one row has no room for both.
    """
    own = compared.figures[0]
    value = shortened(own.shown, BIG, WIDE - GAP, bold=True)
    named = f"{t(_SHORT[ValueSource.OWN])} {value}"
    label = (
        named if width(f"{named} ", BIG, bold=True) <= WIDE else value
    )  # a figure is never cut: it would be another one
    wide = width(f"{label} ", BIG, bold=True)
    unit = compared.unit if wide + width(compared.unit, SMALL) <= WIDE else ""  # the table shows it
    place = arrange([(scale.at(own.low) + scale.at(own.high)) / 2], [wide + width(unit, SMALL)], WIDE)[0]
    way = t(_WAYS[compared.direction]) + (f" · {t('chart.log')}" if scale.logarithmic else "")
    side, left = _beside(place, width(way, SMALL) + GAP, prefers_left=compared.direction == "ge")
    top = _TOP if left is not None else _TOP + _ROW + 2
    middle = (place.left if left is None else left) + place.width / 2
    return (
        shapes.text(side, 0 if side == "c-left" else WIDE, _TOP, way)
        + shapes.text("c-big", middle, top, label, f" {unit}" if unit else "")
    ), top


def _beside(place: LabelPosition, taken: float, *, prefers_left: bool) -> tuple[str, float | None]:
    """The end of the value's row with room for the direction, and the value's left edge then (None: no end has room).

    The value may be moved a little. The direction stands at the end from which its arrow points along the axis.
    """
    lefts = {"c-left": max(place.left, taken), "c-right": min(place.left, WIDE - taken - place.width)}
    for side in sorted(lefts, reverse=not prefers_left):
        left = lefts[side]
        if abs(left - place.left) <= _MAX_MOVED and 0 <= left <= WIDE - place.width:
            return side, left
    return "c-left" if prefers_left else "c-right", None


def _labels(compared: IndicatorComparison, scale: Axis, t: Messages) -> list[_Label]:
    """The labels of all marks except the product's. Equal values share a label."""
    shared: dict[tuple[Decimal, Decimal, str], list[Figure]] = {}
    for figure in compared.figures[1:]:
        shared.setdefault((figure.low, figure.high, figure.shown), []).append(figure)
    labels = []
    for (low, high, shown), group in shared.items():
        sources = tuple(one.source for one in group)
        value = shortened(shown, SMALL, WIDE - 3 * GAP, bold=True)
        room = WIDE - width(f" {value}", SMALL, bold=True)
        name = shortened(" · ".join(t(_SHORT[source]) for source in sources), SMALL, room)
        labels.append(_Label(sources, name, value, scale.at(low), scale.at(high)))
    return labels


def _lines(labels: Sequence[_Label], places: Sequence[LabelPosition], middle: float) -> str:
    """Lines from marks to labels below the first row; none where a line would be long or cross a label."""
    drawn = ""
    for label, place in zip(labels, places, strict=True):
        begin = next((x for x in (label.middle, label.left, label.right) if _clear(x, place, places)), None)
        if place.row and begin is not None:
            top = middle + 2 + max(shapes.BELOW[source] for source in label.sources)
            drawn += f"M{n(begin)} {n(top)}L{n(place.nearest(begin))} {n(middle + 13 + _ROW * place.row)}"
    return shapes.lines(drawn)


def _clear(x: float, place: LabelPosition, places: Sequence[LabelPosition]) -> bool:
    """Whether a line from x to a label is short and crosses no other label."""
    return abs(place.nearest(x) - x) <= _MAX_SLANT and not place.crossed(x, places)


# In words -------------------------------------------------------------------------------------------


def _in_words(texts: Sequence[tuple[str, Sequence[ValueSource]]]) -> Markup:
    """A row for each different text, with the shapes of its sources, each in its own column."""
    columns = [source for source in ValueSource if any(source in sources for _, sources in texts)]
    begin = _COLUMN * len(columns) + 6
    drawn = []
    for row, (text, sources) in enumerate(texts):
        middle = 12 + _LINE * row
        own = ValueSource.OWN in sources
        drawn += [shapes.mark_alone(source, 9 + _COLUMN * columns.index(source), middle) for source in sources]
        shown = shortened(text, SMALL, WIDE - begin, bold=own)
        drawn.append(shapes.text("c-left c-said" if own else "c-left", begin, middle + 4.5, shown))
    return shapes.picture(WIDE, _LINE * len(texts) + 2, drawn)
