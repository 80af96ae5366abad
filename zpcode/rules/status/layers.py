"""The ranges of a batch as its card has them: a layer for each kind of actor (`zpcode.wire.card.RangeLayer`)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec import structs

from zpcode.rules.status.decisions import Actor
from zpcode.rules.status.ranges import ActorRanges, by_actor
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.card import RangeEntry, RangeLayer, Standing


def layers(decisions: Iterable[TimelineDecision], now: datetime) -> tuple[RangeLayer, ...]:
    """The ranges for the card: one layer for each actor with a decision in force or to come, the lowest level first."""
    levels = by_actor(decisions, now).items()
    return tuple(_layer(actor, ranges) for actor, ranges in levels if ranges.segments or ranges.coming)


def _layer(actor: Actor, ranges: ActorRanges) -> RangeLayer:
    numbers: dict[Standing, int] = {}
    current: list[RangeEntry] = []
    for segment in ranges.segments:
        entry = _entry(segment.decision, numbers, segment.first, segment.last)
        if current and current[-1].last + 1 == entry.first and _same(current[-1], entry):
            current[-1] = structs.replace(current[-1], last=entry.last)
        else:
            current.append(entry)
    coming = tuple(_entry(one, numbers, *one.bounds) for one in ranges.coming)
    return RangeLayer(actor.value, tuple(numbers), tuple(current), coming)


def _entry(decision: TimelineDecision, numbers: dict[Standing, int], first: int, last: int) -> RangeEntry:
    number = numbers.setdefault(content(decision), len(numbers))
    return RangeEntry(first, last, number, decision.standing.effective_at)


def _same(one: RangeEntry, other: RangeEntry) -> bool:
    return (one.standing, one.effective_at) == (other.standing, other.effective_at)


def content(decision: TimelineDecision) -> Standing:
    """What a card shows of a decision, without its time: equal texts are on the card once."""
    return structs.replace(decision.shown, effective_at=0)
