"""The one axis of a picture: where it begins and ends, and where a figure stands on it.

Ends are nice figures (1, 2 or 5 times a power of ten, or multiples of such a step) with their digits, so that they can
be printed. The axis is logarithmic where all figures are above nought and the largest is 100 times the smallest;
figures that are nought or below have no place on such an axis and stay on an even one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

LOGARITHMIC_FROM: Final = 100.0
_STEPS: Final = 6.0  # an even axis is at least so many steps of its ends' rounding long
_AIR: Final = 0.12  # of the distance between the outermost figures, kept free outside them
_ALIKE: Final = 1e-6  # figures nearer to each other than this, of their size, are one place on any screen
_NEAR: Final = 0.3  # of the figure furthest from nought, the nearest one: then the axis reaches to nought
_ALL_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`, drawn from `left` to `right` (in units of the picture)."""

    low: Decimal
    high: Decimal
    logarithmic: bool
    left: float = 0.0
    right: float = 1.0

    def at(self, figure: Decimal) -> float:
        """Where a figure stands, kept within the ends."""
        share = _share(float(self.low), float(figure), float(self.high), logarithmic=self.logarithmic)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def powers(self) -> list[Decimal]:
        """The powers of ten between the ends of a logarithmic axis: what tells it from an even one."""
        if not self.logarithmic:
            return []
        inner = range(self.low.adjusted() + 1, self.high.adjusted() + 1)
        return [power for power in (Decimal(1).scaleb(one) for one in inner) if power < self.high]


def _share(low: float, figure: float, high: float, *, logarithmic: bool) -> float:
    if logarithmic:
        low, figure, high = math.log(low), math.log(max(figure, low)), math.log(high)
    return (figure - low) / (high - low)


def axis(figures: Sequence[Decimal], unit: str = "") -> Axis:
    """The axis for these figures (at least one, all finite, none beyond 10¹⁵⁰)."""
    lowest, highest = min(figures), max(figures)
    if lowest > 0 and float(highest) >= float(lowest) * LOGARITHMIC_FROM:
        return Axis(_nice_below(lowest), _nice_above(highest), logarithmic=True)
    low, high = _even_ends(float(lowest), float(highest))
    if unit == "%" and lowest >= 0 and highest <= _ALL_PERCENT < high:
        high = Decimal(_ALL_PERCENT)  # 120 % of what is a share would be a strange thing to see
    return Axis(low, high, logarithmic=False)


def _even_ends(lowest: float, highest: float) -> tuple[Decimal, Decimal]:
    size = max(abs(lowest), abs(highest))
    apart = highest - lowest
    if apart <= size * _ALIKE:
        apart = size / 5 or 1.0
    step = _nice_above(Decimal(apart / _STEPS))
    low = math.floor((lowest - apart * _AIR) / float(step))
    high = math.ceil((highest + apart * _AIR) / float(step))
    if lowest >= 0:
        low = 0 if lowest <= highest * _NEAR else max(low, 0)
    elif highest <= 0:
        high = 0 if highest >= lowest * _NEAR else min(high, 0)
    return _steps(low, step), _steps(high, step)


def _steps(count: int, step: Decimal) -> Decimal:
    return (count * step).normalize()  # 0.4, not 0.40: these digits are nobody's measurement


def _nice_above(figure: Decimal) -> Decimal:
    """The smallest 1, 2 or 5 times a power of ten that is not below a figure above nought."""
    power = Decimal(1).scaleb(figure.adjusted())
    return next(power * times for times in (1, 2, 5, 10) if power * times >= figure)


def _nice_below(figure: Decimal) -> Decimal:
    """The largest 1, 2 or 5 times a power of ten that is not above a figure above nought."""
    power = Decimal(1).scaleb(figure.adjusted())
    return next(power * times for times in (5, 2, 1) if power * times <= figure)
