"""Shapes and texts of the charts, as SVG elements: marks, boxes, lines, texts.

Coordinates are in units of the chart, from its top left corner downwards. All texts are escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup, escape

from scanweb.page.chart.quantities import ValueSource

BESIDE: Final = 7.0
"""Half the width of a mark at a point."""
BELOW: Final = {ValueSource.STANDARD: 9.0, ValueSource.NATIONAL: 12.5, ValueSource.BENCHMARK: 7.0}
"""Depth of the other marks below the middle of the axis."""


def mark(source: ValueSource, left: float, right: float, middle: float) -> str:
    """A mark on an axis whose middle is at `middle`: for a point if left and right are equal, else for a range.

    Shapes for a point (a range): the product is a pin (a bar) above the axis, its standard an upright bar (two bars), the
    national standard a triangle below the axis (two, joined), the benchmark a ring (a long ring). Marks at the same place
    stay visible.
    """
    ends = (left,) if left == right else (left, right)
    if source is ValueSource.OWN:
        return _own(left, right, middle)
    if source is ValueSource.STANDARD:
        return _path("c-standard", "".join(f"M{n(x - 2)} {n(middle - 9)}h4v18h-4z" for x in ends))
    if source is ValueSource.NATIONAL:
        joined = "" if left == right else f"M{n(left)} {n(middle + 10.5)}H{n(right)}v2H{n(left)}z"
        return _path("c-national", "".join(f"M{n(x)} {n(middle + 4.5)}l4.5 8h-9z" for x in ends) + joined)
    return box("c-benchmark", left - 6, middle - 6, right - left + 12, 12, 6)


def _own(left: float, right: float, middle: float) -> str:
    if left == right:
        return _path("c-own", f"M{n(left)} {n(middle - 3)}l-5.2-7.2a6.6 6.6 0 1 1 10.4 0z")
    return box("c-own", left, middle - 16, max(right - left, 6), 9, 4.5)


def mark_alone(source: ValueSource, x: float, y: float) -> str:
    """A mark outside the axis, centred at (x, y): on the axis the pin is above the middle, the triangle below it."""
    return mark(source, x, x, y + {ValueSource.OWN: 12.0, ValueSource.NATIONAL: -8.5}.get(source, 0.0))


def box(name: str, x: float, y: float, wide: float, high: float, rounded: float = 4) -> str:
    """A rectangle with a CSS class."""
    return f'<rect class="{name}" x="{n(x)}" y="{n(y)}" width="{n(wide)}" height="{n(high)}" rx="{n(rounded)}"/>'


def lines(steps: str) -> str:
    """Thin lines; nothing where `steps` is empty."""
    return _path("c-line", steps) if steps else ""


def _path(name: str, steps: str) -> str:
    return f'<path class="{name}" d="{steps}"/>'


def text(name: str, x: float, y: float, words: str, more: str = "") -> str:
    """Words at a position, with a CSS class (empty: none); `more` follows in another style."""
    kind = f' class="{name}"' if name else ""
    rest = f"<tspan>{escape(more)}</tspan>" if more else ""
    return f'<text{kind} x="{n(x)}" y="{n(y)}">{escape(words)}{rest}</text>'


def picture(wide: float, high: float, drawn: Iterable[str]) -> Markup:
    """The whole chart, hidden from screen readers and from the keyboard (old Edge focuses every `svg`)."""
    opening = f'<svg class="chart" viewBox="0 0 {n(wide)} {n(high)}" aria-hidden="true" focusable="false">'
    return Markup(f"{opening}{''.join(drawn)}</svg>")  # noqa: S704 - `text` has escaped every text in it


def n(figure: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{figure:.1f}".removesuffix(".0")
