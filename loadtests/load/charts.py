"""Line charts as inline SVG without script, font or network. Colours are CSS classes of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 860
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 30


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, its style (a CSS class), and its points (second of the run, value; None is a gap)."""

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


def chart(lines: Sequence[Series], seconds: float, unit: str, marks: Sequence[float] = ()) -> str:
    """A chart of a run of so many seconds, from 0 to a round number above the highest value. `marks` are seconds of the run."""
    highest = max((value for line in lines for _, value in line.points if value is not None), default=0.0)
    top = round_up(highest or 1.0)
    parts = [_grid(top, unit), _seconds(seconds)]
    parts += [f'<path class="mark" d="M{_x(mark, seconds):.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>' for mark in marks]
    parts += [_line(line, seconds, top) for line in lines]
    title = escape(" · ".join(line.name for line in lines))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(parts)}</svg>'


def round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 6, 8 or 10 times a power of ten. A quarter of each is a short number for an axis."""
    power = float(10 ** math.floor(math.log10(value)))
    return next(step * power for step in (1, 2, 4, 5, 6, 8, 10) if value <= step * power * (1 + 1e-9))


def _x(second: float, seconds: float) -> float:
    return _LEFT + (WIDTH - _LEFT - _RIGHT) * min(1.0, max(0.0, second / seconds))


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * min(1.0, value / top)


def _grid(top: float, unit: str) -> str:
    parts = []
    for quarter in range(5):
        value = top * quarter / 4
        y = _y(value, top)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        label = f"{value:g}{unit if quarter == 4 else ''}"
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
    return "".join(parts)


def _seconds(seconds: float) -> str:
    step = max(1.0, round_up(seconds / 8))
    parts = []
    for number in range(int(seconds / step) + 1):
        x = _x(number * step, seconds)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{number * step:g} s</text>')
    return "".join(parts)


def _line(line: Series, seconds: float, top: float) -> str:
    drawn, down = [], False
    for second, value in line.points:
        if value is not None:
            drawn.append(f"{'L' if down else 'M'}{_x(second, seconds):.1f} {_y(value, top):.1f}")
        down = value is not None
    return f'<path class="line {line.style}" d="{"".join(drawn)}"/>' if drawn else ""
