"""Timelines of several levels of deciders in one: the rule which of their decisions a code shows, now and later.

Each kind of decider (level) has at most one decision in force on a target, its latest. The most severe of them is shown;
among equals, that of the highest level. The authority applies the rule when it derives a timeline, the scan service
when it reads the ranges of a batch: a card has the ranges of each level apart, so that no level can use up the place
of another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from zpcode.wire.card import RangeEntry, RangeLayer, Standing, Timeline
from zpcode.wire.vocabulary import SEVERITY, State

LevelChange = tuple[int, Standing]
"""The level (0 is the lowest), and what it decides from the standing's `effective_at` on; GOOD: it decides nothing more."""


def composed(current: Iterable[Standing | None], coming: Sequence[LevelChange]) -> tuple[Standing, ...]:
    """What a target shows: the standing in effect now, and all later changes. Empty if it is good now and later.

    `current` has the decision in force of each level, the lowest first. `coming` is in the order of taking effect. An
    older decision that is shown again keeps its own reason and texts.
    """
    levels = list(current)
    shown = _most_severe(levels)
    standings = [] if shown is None else [replace(shown, begun=True)]
    for level, standing in coming:
        levels[level] = standing
        _append(standings, replace(_most_severe(levels) or standing, effective_at=standing.effective_at))
    return () if all(standing.state is State.GOOD for standing in standings) else tuple(standings)


def _append(standings: list[Standing], standing: Standing) -> None:
    """Add a change, unless it changes nothing. It replaces a change of the same second, which never shows."""
    if standings and not standings[-1].begun and standings[-1].effective_at == standing.effective_at:
        standings.pop()
    if not standings or not _same(standings[-1], standing):
        standings.append(standing)


def _most_severe(levels: Iterable[Standing | None]) -> Standing | None:
    most_severe = None
    for standing in levels:
        if standing is None or standing.state is State.GOOD:
            continue
        if most_severe is None or SEVERITY[standing.state] >= SEVERITY[most_severe.state]:
            most_severe = standing
    return most_severe


def _same(one: Standing, other: Standing) -> bool:
    return one == replace(other, effective_at=one.effective_at, begun=one.begun)


def item_timeline(layers: Sequence[RangeLayer], index: int) -> Timeline | None:
    """The timeline of one item from the ranges of its batch; None if no decision about a range applies to it."""
    current = [_in_force(layer, index) for layer in layers]
    coming = [
        (level, _standing(layer, entry))
        for level, layer in enumerate(layers)
        for entry in layer.coming
        if entry.first <= index <= entry.last
    ]
    coming.sort(key=lambda change: change[1].effective_at)  # stable: a layer's own order stays
    standings = composed(current, coming)
    return Timeline(standings) if standings else None


def _in_force(layer: RangeLayer, index: int) -> Standing | None:
    at = bisect_left(layer.current, index, key=lambda entry: entry.last)
    if at == len(layer.current) or layer.current[at].first > index:
        return None
    return _standing(layer, layer.current[at])


def _standing(layer: RangeLayer, entry: RangeEntry) -> Standing:
    return replace(layer.standings[entry.standing], effective_at=entry.effective_at)
