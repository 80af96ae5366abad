"""The planned scans a second at each moment of a run: straight lines between points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Points = Sequence[tuple[float, float]]  # (second of the run, share of the full rate), the seconds ascending


def at(points: Points, second: float) -> float:
    """The share of the full rate at a second of the run. Before the first and after the last point it is constant."""
    if second <= points[0][0]:
        return points[0][1]
    for (start, before), (end, after) in pairwise(points):
        if second <= end:
            return before + (after - before) * (second - start) / (end - start)
    return points[-1][1]


def area(points: Points, upto: float = math.inf) -> float:
    """The area below the curve up to a second: the planned scans until then, in seconds of the full rate."""
    total = 0.0
    for (start, before), (end, _) in pairwise(points):
        stop = min(end, upto)
        if stop > start:
            total += (before + at(points, stop)) / 2 * (stop - start)
    return total


def spread(shares: Points, seconds: float) -> list[tuple[float, float]]:
    """Points for a run of so many seconds, from points in shares of the run."""
    return [(part * seconds, share) for part, share in shares]


def day(seconds: float) -> list[tuple[float, float]]:
    """One day from midnight to midnight: low at night, a peak at noon, the highest after dinner."""
    hours = ((0, 0.25), (6, 0.15), (9, 0.55), (12, 0.85), (14, 0.6), (18, 0.7), (20.5, 1.0), (23, 0.5), (24, 0.25))
    return spread([(hour / 24, share) for hour, share in hours], seconds)


def rush(seconds: float) -> list[tuple[float, float]]:
    """A fifth of the run at 1/20 of the rate, then ×20 within a minute (within a quarter of a run below four minutes)."""
    start = seconds / 5
    return [(0, 0.05), (start, 0.05), (start + min(60.0, seconds / 4), 1.0), (seconds * 0.9, 1.0), (seconds, 0.4)]


def news(seconds: float) -> list[tuple[float, float]]:
    """Few scans until the evening news, then many. The recall is made at 40 % of the run."""
    return spread([(0, 0.2), (0.2, 0.2), (0.3, 1.0), (0.8, 1.0), (1.0, 0.6)], seconds)


def level(seconds: float) -> list[tuple[float, float]]:
    """The full rate from start to end."""
    return [(0, 1.0), (seconds, 1.0)]
