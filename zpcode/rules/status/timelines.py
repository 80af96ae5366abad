"""Timelines: which decisions about one target are in force, now and later; and the ranges of one batch.

The same rule applies to an item, a range and a registry record. Each kind of decider (`Actor`) has at most one decision
in force, its latest. A restoration ends the decision of the actor that it names. The consumer sees the most severe
decision in force. So a lower level never weakens the decision of a higher level, and a flag never hides a recall.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from zpcode.errors import Conflict, Finding, Forbidden, Text
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import RANK, may_lift
from zpcode.wire.card import RangeStanding, Standing, Timeline
from zpcode.wire.vocabulary import SEVERITY, State

MAX_PENDING: Final = 50
MAX_RANGES: Final = 1000


@dataclass(frozen=True, slots=True)
class TimelineDecision:
    """One row of `status_change`: the fields on which the state of a target depends.

    Only a restoration has `lifts`: the actor whose decision it ends. `first` and `last` are the ends of a range (both
    included). Decisions take effect in the order of `effective_at`, then `id`.
    """

    id: int
    actor: Actor
    action: Action
    standing: Standing
    effective_at: datetime
    lifts: Actor | None = None
    first: int | None = None
    last: int | None = None


InForce = tuple[TimelineDecision, ...]  # at most one of each actor


def in_order(decisions: Iterable[TimelineDecision]) -> list[TimelineDecision]:
    """Decisions in the order in which they take effect."""
    return sorted(decisions, key=lambda decision: (decision.effective_at, decision.id))


def after(current: InForce, decision: TimelineDecision) -> InForce:
    """The decisions in force after one more decision has taken effect."""
    replaced = decision.actor if decision.lifts is None else decision.lifts
    others = tuple(one for one in current if one.actor is not replaced)
    return others if decision.lifts is not None else (*others, decision)


def in_force(decisions: Iterable[TimelineDecision], at: datetime) -> InForce:
    """The decisions in force at a time."""
    current: InForce = ()
    for decision in in_order(decisions):
        if decision.effective_at <= at:
            current = after(current, decision)
    return current


def most_severe(current: InForce) -> TimelineDecision | None:
    """The decision that the consumer sees: the most severe; among equals, that of the highest level."""
    return max(
        current,
        key=lambda decision: (SEVERITY[decision.standing.state], RANK[decision.actor], decision.id),
        default=None,
    )


def timeline(decisions: Sequence[TimelineDecision], now: datetime) -> Timeline:
    """The decision in force now, and all later changes. Empty if the target is good now and later."""
    coming = [decision for decision in decisions if decision.effective_at > now]
    return _timeline(in_force(decisions, now), in_order(coming))


def _timeline(current: InForce, coming: Sequence[TimelineDecision]) -> Timeline:
    shown = most_severe(current)
    standings = [] if shown is None else [msgspec.structs.replace(shown.standing, begun=True)]
    for decision in coming:
        current = after(current, decision)
        standing = _shown(most_severe(current), decision)
        if not standings or not _same(standings[-1], standing):
            standings.append(standing)
    if standings and all(standing.state is State.GOOD for standing in standings):
        return Timeline(())
    return Timeline(tuple(standings))


def _shown(shown: TimelineDecision | None, cause: TimelineDecision) -> Standing:
    """The standing from the moment `cause` takes effect.

    An older decision that is shown again keeps its own reason and texts.
    """
    if shown is None:
        return Standing(State.GOOD, cause.standing.effective_at, cause.standing.reason)
    return msgspec.structs.replace(shown.standing, effective_at=cause.standing.effective_at)


def _same(one: Standing, other: Standing) -> bool:
    return one == msgspec.structs.replace(other, effective_at=one.effective_at, begun=one.begun)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Items `first` … `last` of a batch with the same decisions."""

    first: int
    last: int
    current: InForce = ()
    coming: tuple[TimelineDecision, ...] = ()


def ranges(decisions: Sequence[TimelineDecision], now: datetime) -> tuple[RangeStanding, ...]:
    """The ranges of one batch with different timelines: disjoint and in order; neighbours with equal timelines are joined.

    Raises Conflict for more than 1000 ranges, because every scan of the batch reads the card with all of them.
    """
    segments: list[_Segment] = []
    for decision in in_order(decisions):
        _add(segments, decision, begun=decision.effective_at <= now)
    standings: list[RangeStanding] = []
    for segment in segments:
        merged = _timeline(segment.current, segment.coming)
        if not merged.standings:
            continue
        if standings and standings[-1].last + 1 == segment.first and standings[-1].timeline == merged:
            standings[-1] = RangeStanding(standings[-1].first, segment.last, merged)
        else:
            standings.append(RangeStanding(segment.first, segment.last, merged))
    if len(standings) > MAX_RANGES:
        raise _conflict(
            "too-many-ranges",
            f"该批次的号段状态超过 {MAX_RANGES} 段；请改用整批或合并号段",
            f"this batch would have more than {MAX_RANGES} different ranges; decide about the batch, or about wider ranges",
        )
    return tuple(standings)


def _add(segments: list[_Segment], decision: TimelineDecision, *, begun: bool) -> None:
    """Add one decision to disjoint segments in order; segments without a decision are removed."""
    first, last = decision.first, decision.last
    if first is None or last is None:
        raise ValueError("a decision about a range has bounds")
    low = bisect_left(segments, first, key=lambda segment: segment.last)
    high = bisect_right(segments, last, key=lambda segment: segment.first)
    cut = _cut(segments[low:high], first, last)
    changed = (_with_decision(piece, decision, begun) if first <= piece.first <= last else piece for piece in cut)
    segments[low:high] = [piece for piece in changed if piece.current or piece.coming]


def _cut(overlapping: Sequence[_Segment], first: int, last: int) -> Iterator[_Segment]:
    """The segments that overlap a range, cut at its ends, and empty segments for the rest of the range."""
    bare = first  # the first item of the range that no yielded segment covers yet
    for old in overlapping:
        if old.first < first:
            yield replace(old, last=first - 1)
        if bare < old.first:
            yield _Segment(bare, old.first - 1)
        yield replace(old, first=max(old.first, first), last=min(old.last, last))
        if old.last > last:
            yield replace(old, first=last + 1)
        bare = old.last + 1
    if bare <= last:
        yield _Segment(bare, last)


def _with_decision(segment: _Segment, decision: TimelineDecision, begun: bool) -> _Segment:
    if begun:
        return replace(segment, current=after(segment.current, decision))
    return replace(segment, coming=(*segment.coming, decision))


def in_force_within(decisions: Iterable[TimelineDecision], first: int, last: int, at: datetime) -> InForce:
    """All decisions in force at a time for any item of a range."""
    segments: list[_Segment] = []
    for decision in in_order(decisions):
        if decision.effective_at <= at:
            _add(segments, decision, begun=True)
    overlapping = (segment.current for segment in segments if segment.first <= last and first <= segment.last)
    return tuple(dict.fromkeys(decision for current in overlapping for decision in current))


def lifted_by(actor: Actor, current: Iterable[TimelineDecision]) -> Actor:
    """The actor whose decision a restoration ends: the caller itself if it has one, else the highest that it may lift.

    Raises Forbidden if all decisions in force at this scope are of higher levels, Conflict if there is none.
    """
    deciders = {decision.actor for decision in current}
    liftable = [decider for decider in deciders if may_lift(actor, decider)]
    if actor in liftable:
        return actor
    if liftable:
        return max(liftable, key=lambda decider: RANK[decider])
    if deciders:
        text = Text(
            "现行决定由上级作出，只能由作出决定的级别或其上级恢复",
            "the decision in force was made by a higher level; only that level or one above it can restore",
        )
        raise Forbidden(text, (Finding("higher-level", text),))
    raise _conflict(
        "nothing-to-restore",
        "该范围上没有生效的决定；其他范围的决定须在其原范围恢复，尚未生效的须以其生效时间恢复",
        "no decision is in force at this scope; restore a decision of another scope at its own scope, "
        "and a decision that has not taken effect yet with its effective time",
    )


def check_pending(decisions: Iterable[TimelineDecision], now: datetime) -> None:
    """Raise Conflict if more than 50 decisions about one target have not taken effect yet."""
    if sum(decision.effective_at > now for decision in decisions) > MAX_PENDING:
        raise _conflict(
            "too-many-pending",
            f"该对象已有 {MAX_PENDING} 项待生效的决定",
            f"{MAX_PENDING} decisions about this target have not taken effect yet",
        )


def _conflict(slug: str, zh: str, en: str) -> Conflict:
    text = Text(zh, en)
    return Conflict(text, (Finding(slug, text),))
