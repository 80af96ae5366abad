"""Labels of a chart: the width of a text, shortening it, and positions of labels without overlap.

Widths are upper estimates, in ems, for the fonts of phones and desktops (Noto Sans CJK, PingFang, Roboto, Segoe UI, DejaVu
Sans). The server cannot measure them, because the page uses the fonts of the reader's system.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

ELLIPSIS: Final = "…"
GAP: Final = 8.0
_BOLD: Final = 1.08
_NARROW: Final = frozenset("ijltfI.,;:!'|()[]/ ·")
_WIDE: Final = frozenset("mwMWQO@%")
_ROW_COST: Final = 26.0  # another row costs as much as moving the labels by this distance in all
_CROSSING_COST: Final = 80.0  # for each label that a line to another label runs through
_MISS_FACTOR: Final = 4.0  # for the distance between a label and an anchor that is not above it


@lru_cache(maxsize=4096)
def _ems(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if character in _NARROW:
        return 0.4
    if character in _WIDE:
        return 1.0
    if "0" <= character <= "9" or "a" <= character <= "z":
        return 0.64
    if character < "\u0250":
        return 0.72
    return 1.0 if character <= "\uffff" else 1.4  # Chinese and unknown signs; emoji


def width(text: str, size: float, *, bold: bool = False) -> float:
    """The maximum width of a text at a font size."""
    return sum(map(_ems, text)) * size * (_BOLD if bold else 1.0)


def shortened(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """The text, or its beginning with an ellipsis, no wider than `room`."""
    left = room
    for position, character in enumerate(text):
        left -= width(character, size, bold=bold)
        if left < 0:
            return _cut(text[:position], size, room, bold=bold) + ELLIPSIS
    return text


def _cut(text: str, size: float, room: float, *, bold: bool) -> str:
    """The beginning of a text that leaves room for an ellipsis, without trailing spaces."""
    while text and width(text + ELLIPSIS, size, bold=bold) > room:
        text = text[:-1]
    return text.rstrip()


@dataclass(frozen=True, slots=True)
class LabelPosition:
    """The position of a label: its left edge, its width and its row (0 is the top row)."""

    left: float
    width: float
    row: int

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def middle(self) -> float:
        """The middle between the edges."""
        return self.left + self.width / 2

    def nearest(self, anchor: float) -> float:
        """The point of the label (4 inside its edges) that is nearest to the anchor: the mark that the label names."""
        return min(max(anchor, self.left + 4), self.right - 4)

    def crossed(self, anchor: float, places: Sequence[LabelPosition]) -> int:
        """The number of labels in the rows above that a line from the anchor to this label would cross."""
        low, high = sorted((anchor, self.nearest(anchor)))
        return sum(one.row < self.row and low < one.right + 2 and high > one.left - 2 for one in places)


def arrange(anchors: Sequence[float], widths: Sequence[float], room: float) -> list[LabelPosition]:
    """Positions of at most four labels, none wider than `room`, each as near to its anchor as possible.

    The number of rows is small, but a further row is used rather than labels far from their anchors.
    """
    best: list[LabelPosition] = []
    lowest = float("inf")
    for rows in product(range(len(anchors)), repeat=len(anchors)):
        if len(set(rows)) <= max(rows, default=0):
            continue  # an empty row
        places = _in_rows(anchors, widths, rows, room)
        cost = lowest if places is None else _cost(anchors, places)
        if places is not None and cost < lowest:
            best, lowest = places, cost
    return best


def _in_rows(
    anchors: Sequence[float], widths: Sequence[float], rows: Sequence[int], room: float
) -> list[LabelPosition] | None:
    places: list[LabelPosition] = [LabelPosition(0, 0, 0)] * len(rows)
    for row in set(rows):
        members = sorted((one for one in range(len(rows)) if rows[one] == row), key=lambda one: anchors[one])
        lefts = _packed([anchors[one] for one in members], [widths[one] for one in members], room)
        if lefts is None:
            return None
        for one, left in zip(members, lefts, strict=True):
            places[one] = LabelPosition(left, widths[one], row)
    return places


def _packed(anchors: Sequence[float], widths: Sequence[float], room: float) -> list[float] | None:
    """The left edges of labels in one row, in the order of the anchors; None where they do not fit."""
    if sum(widths) + GAP * (len(widths) - 1) > room:
        return None
    lefts = [anchor - wide / 2 for anchor, wide in zip(anchors, widths, strict=True)]
    edge = 0.0
    for one, wide in enumerate(widths):
        lefts[one] = max(lefts[one], edge)
        edge = lefts[one] + wide + GAP
    edge = room
    for one in range(len(widths) - 1, -1, -1):
        lefts[one] = min(lefts[one], edge - widths[one])
        edge = lefts[one] - GAP
    return lefts


def _cost(anchors: Sequence[float], places: Sequence[LabelPosition]) -> float:
    pairs = list(zip(anchors, places, strict=True))
    moved = sum(
        abs(place.middle - anchor) + _MISS_FACTOR * abs(place.nearest(anchor) - anchor) for anchor, place in pairs
    )
    crossed = sum(place.crossed(anchor, places) for anchor, place in pairs)
    return moved + _ROW_COST * max(place.row for place in places) + _CROSSING_COST * crossed
