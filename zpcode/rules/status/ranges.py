"""Decisions about ranges of one batch: the disjoint ranges of each kind of actor, now, and the later changes.

The ranges of each actor are apart, as on the card (`zpcode.rules.status.layers`): what one actor decides cuts no range of
another, so each needs room only for what it decided itself (`zpcode.rules.status.shares`). A whole target is treated as a
batch of one item.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from zpcode.rules.status.decisions import Actor
from zpcode.rules.status.timelines import LEVELS, InForce, TimelineDecision, in_order


@dataclass(frozen=True, slots=True)
class Segment:
    """The items `first` … `last` of a batch, for which one decision is in force."""

    first: int
    last: int
    decision: TimelineDecision


@dataclass(slots=True)
class ActorRanges:
    """The decisions of one actor. `segments` are in force: disjoint and in order; `coming` is in the order of effect.

    `cuts` names, for each item with which a segment may begin or before which it may end, the latest decision with
    that bound.
    """

    segments: list[Segment] = field(default_factory=list)
    coming: list[TimelineDecision] = field(default_factory=list)
    cuts: dict[int, TimelineDecision] = field(default_factory=dict)

    def begin(self, decision: TimelineDecision) -> None:
        """Apply a decision that is in effect: it replaces what was in force for its items, or ends it."""
        first, last = decision.bounds
        low, high = self._overlap(first, last)
        overlapping = self.segments[low:high]
        left = [replace(old, last=first - 1) for old in overlapping[:1] if old.first < first]
        right = [replace(old, first=last + 1) for old in overlapping[-1:] if old.last > last]
        new = [Segment(first, last, decision)] if decision.lifts is None else []
        self.segments[low:high] = [*left, *new, *right]
        self.cuts[first] = self.cuts[last + 1] = decision

    def schedule(self, decision: TimelineDecision) -> None:
        """Add a later change. What it replaces within the same second is dropped; so is a restoration of nothing."""
        first, last = decision.bounds
        self.coming = [one for one in self.coming if not _replaced(one, decision)]
        low, high = self._overlap(first, last)
        if decision.lifts is None or low < high or any(_overlap(one.bounds, (first, last)) for one in self.coming):
            self.coming.append(decision)

    def within(self, first: int, last: int) -> Iterator[TimelineDecision]:
        """The decisions in force for any item of a range."""
        low, high = self._overlap(first, last)
        return (segment.decision for segment in self.segments[low:high])

    def on_card(self) -> Iterator[TimelineDecision]:
        """The decisions that a card shows or will show; one may occur several times."""
        yield from (segment.decision for segment in self.segments)
        yield from self.coming

    def counting(self) -> Iterator[TimelineDecision]:
        """All decisions that need place on the card, those too that only cut a range in two; with repetitions."""
        yield from self.on_card()
        for segment in self.segments:
            yield self.cuts[segment.first]
            yield self.cuts[segment.last + 1]

    def _overlap(self, first: int, last: int) -> tuple[int, int]:
        low = bisect_left(self.segments, first, key=lambda segment: segment.last)
        return low, bisect_right(self.segments, last, key=lambda segment: segment.first)


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _replaced(one: TimelineDecision, later: TimelineDecision) -> bool:
    """Whether a later decision takes effect in the same second, the unit of a card, and for all its items."""
    same = one.standing.effective_at == later.standing.effective_at
    return same and later.bounds[0] <= one.bounds[0] and one.bounds[1] <= later.bounds[1]


def by_actor(decisions: Iterable[TimelineDecision], now: datetime) -> Mapping[Actor, ActorRanges]:
    """The ranges of every actor at a time, the lowest level first."""
    levels = {actor: ActorRanges() for actor in LEVELS}
    for decision in in_order(decisions):
        ranges = levels[decision.level]
        if decision.effective_at <= now:
            ranges.begin(decision)
        else:
            ranges.schedule(decision)
    return levels


def in_force_within(decisions: Iterable[TimelineDecision], first: int, last: int, at: datetime) -> InForce:
    """All decisions in force at a time for any item of a range."""
    levels = by_actor((one for one in decisions if one.effective_at <= at), at)
    return tuple(dict.fromkeys(one for ranges in levels.values() for one in ranges.within(first, last)))
