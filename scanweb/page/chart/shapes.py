"""Shapes and words of the pictures, as SVG elements: the marks for whose value it is, boxes, texts.

Coordinates are in units of the picture, downwards from its top left corner. All texts are escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markupsafe import Markup, escape

from scanweb.page.chart.quantities import Who

BESIDE: Final = 7.0
"""How far a mark at a point reaches to each side."""
BELOW: Final = {Who.STANDARD: 9.0, Who.NATIONAL: 12.5, Who.BENCHMARK: 7.0}
"""How far each of the other marks reaches below it."""


def mark(who: Who, left: float, right: float, middle: float) -> str:
    """A mark on an axis whose middle is at `middle`: a point where left and right are one, else a stretch.

    The product is a pin (a bar) above the axis, its standard an upright bar (two), the national standard a triangle
    below (two, joined), the benchmark a ring (drawn out): at the same place, each can still be seen.
    """
    ends = (left,) if left == right else (left, right)
    if who is Who.OWN:
        return _own(left, right, middle)
    if who is Who.STANDARD:
        return _path("c-standard", "".join(f"M{n(x - 2)} {n(middle - 9)}h4v18h-4z" for x in ends))
    if who is Who.NATIONAL:
        joined = "" if left == right else f"M{n(left)} {n(middle + 10.5)}H{n(right)}v2H{n(left)}z"
        return _path("c-national", "".join(f"M{n(x)} {n(middle + 4.5)}l4.5 8h-9z" for x in ends) + joined)
    return box("c-benchmark", left - 6, middle - 6, right - left + 12, 12, 6)


def _own(left: float, right: float, middle: float) -> str:
    if left == right:
        return _path("c-own", f"M{n(left)} {n(middle - 3)}l-5.2-7.2a6.6 6.6 0 1 1 10.4 0z")
    return box("c-own", left, middle - 16, max(right - left, 6), 9, 4.5)


def alone(who: Who, x: float, y: float) -> str:
    """A mark off the axis, its own middle at a place: the pin otherwise stands above, the triangle below."""
    return mark(who, x, x, y + {Who.OWN: 12.0, Who.NATIONAL: -8.5}.get(who, 0.0))


def box(name: str, x: float, y: float, wide: float, high: float, rounded: float = 4) -> str:
    """A rectangle of a class."""
    return f'<rect class="{name}" x="{n(x)}" y="{n(y)}" width="{n(wide)}" height="{n(high)}" rx="{n(rounded)}"/>'


def lines(steps: str) -> str:
    """Hair lines, none where there are no steps."""
    return _path("c-line", steps) if steps else ""


def _path(name: str, steps: str) -> str:
    return f'<path class="{name}" d="{steps}"/>'


def text(name: str, x: float, y: float, words: str, more: str = "") -> str:
    """Words at a place, of a class (`` for none), with more words set off from them."""
    kind = f' class="{name}"' if name else ""
    rest = f"<tspan>{escape(more)}</tspan>" if more else ""
    return f'<text{kind} x="{n(x)}" y="{n(y)}">{escape(words)}{rest}</text>'


def picture(wide: float, high: float, drawn: Iterable[str]) -> Markup:
    """The whole picture, hidden from screen readers and from the keyboard (old Edge makes every `svg` a stop)."""
    opening = f'<svg class="chart" viewBox="0 0 {n(wide)} {n(high)}" aria-hidden="true" focusable="false">'
    return Markup(f"{opening}{''.join(drawn)}</svg>")  # noqa: S704 - every text in it went through `text`


def n(figure: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{figure:.1f}".removesuffix(".0")
