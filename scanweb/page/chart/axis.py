"""The axis of a chart: its ends, and the position of a figure on it.

The ends are round figures that can be printed: 1, 2 or 5 times a power of ten, or multiples of such a step. The axis is
logarithmic where all figures are positive and the largest is at least 100 times the smallest; otherwise it is linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

LOGARITHMIC_FROM: Final = 100.0
_STEPS: Final = 6.0  # a linear axis is at least this many rounding steps long
_MARGIN: Final = 0.12  # free space outside the outermost figures, as a share of their distance
_EQUAL: Final = 1e-6  # figures whose relative distance is smaller are one point on every screen
_NEAR_ZERO: Final = 0.3  # the axis begins at zero if the smallest figure is below this share of the largest
_ALL_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from `low` to `high`, drawn from `left` to `right` (in units of the chart)."""

    low: Decimal
    high: Decimal
    logarithmic: bool
    left: float = 0.0
    right: float = 1.0

    def at(self, figure: Decimal) -> float:
        """The position of a figure, limited to the ends."""
        share = _share(float(self.low), float(figure), float(self.high), logarithmic=self.logarithmic)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def powers(self) -> list[Decimal]:
        """Powers of ten between the ends; their marks show that the axis is logarithmic. A linear axis has none."""
        if not self.logarithmic:
            return []
        inner = range(self.low.adjusted() + 1, self.high.adjusted() + 1)
        return [power for power in (Decimal(1).scaleb(one) for one in inner) if power < self.high]


def _share(low: float, figure: float, high: float, *, logarithmic: bool) -> float:
    if logarithmic:
        low, figure, high = math.log(low), math.log(max(figure, low)), math.log(high)
    return (figure - low) / (high - low)


def axis(figures: Sequence[Decimal], unit: str = "") -> Axis:
    """The axis for these figures (at least one; all finite, none above 10¹⁵⁰)."""
    lowest, highest = min(figures), max(figures)
    if lowest > 0 and float(highest) >= float(lowest) * LOGARITHMIC_FROM:
        return Axis(_round_down(lowest), _round_up(highest), logarithmic=True)
    low, high = _linear_ends(float(lowest), float(highest))
    if unit == "%" and lowest >= 0 and highest <= _ALL_PERCENT < high:
        high = Decimal(_ALL_PERCENT)  # shares end at 100 %
    return Axis(low, high, logarithmic=False)


def _linear_ends(lowest: float, highest: float) -> tuple[Decimal, Decimal]:
    size = max(abs(lowest), abs(highest))
    apart = highest - lowest
    if apart <= size * _EQUAL:
        apart = size / 5 or 1.0
    step = _round_up(Decimal(apart / _STEPS))
    low = math.floor((lowest - apart * _MARGIN) / float(step))
    high = math.ceil((highest + apart * _MARGIN) / float(step))
    if lowest >= 0:
        low = 0 if lowest <= highest * _NEAR_ZERO else max(low, 0)
    elif highest <= 0:
        high = 0 if highest >= lowest * _NEAR_ZERO else min(high, 0)
    return _steps(low, step), _steps(high, step)


def _steps(count: int, step: Decimal) -> Decimal:
    return (count * step).normalize()  # 0.4, not 0.40: an end is no measured value


def _round_up(figure: Decimal) -> Decimal:
    """The smallest 1, 2 or 5 times a power of ten that is not below a positive figure."""
    power = Decimal(1).scaleb(figure.adjusted())
    return next(power * times for times in (1, 2, 5, 10) if power * times >= figure)


def _round_down(figure: Decimal) -> Decimal:
    """The largest 1, 2 or 5 times a power of ten that is not above a positive figure."""
    power = Decimal(1).scaleb(figure.adjusted())
    return next(power * times for times in (5, 2, 1) if power * times <= figure)
