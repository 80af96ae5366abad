"""From the decisions about one target to what a scan reads: the timeline of one target, the ranges of one batch.

One rule serves an item, a range and a registry record. Each kind of caller (`Actor`) has at most one decision in force,
its latest. A restoration ends the decision of the actor it names. The consumer sees the gravest decision in force. So a
lower level never weakens the decision of a higher level, and a flag never hides a recall of another actor.
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

    `lifts` is set on a restoration only: whose decision it takes away. `first` and `last` bound a range
    (both included). Decisions take effect in the order of `effective_at`, then `id`.
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
    taken = decision.actor if decision.lifts is None else decision.lifts
    kept = tuple(one for one in current if one.actor is not taken)
    return kept if decision.lifts is not None else (*kept, decision)


def in_force(decisions: Iterable[TimelineDecision], at: datetime) -> InForce:
    """The decisions in force at a moment."""
    current: InForce = ()
    for decision in in_order(decisions):
        if decision.effective_at <= at:
            current = after(current, decision)
    return current


def gravest(current: InForce) -> TimelineDecision | None:
    """The decision that the consumer sees: the gravest; among equal ones, that of the highest level."""
    return max(
        current,
        key=lambda decision: (SEVERITY[decision.standing.state], RANK[decision.actor], decision.id),
        default=None,
    )


def timeline(decisions: Sequence[TimelineDecision], now: datetime) -> Timeline:
    """What holds now, and everything still to come. Empty where the target is good now and later."""
    coming = [decision for decision in decisions if decision.effective_at > now]
    return _timeline(in_force(decisions, now), in_order(coming))


def _timeline(current: InForce, coming: Sequence[TimelineDecision]) -> Timeline:
    shown = gravest(current)
    standings = [] if shown is None else [msgspec.structs.replace(shown.standing, begun=True)]
    for decision in coming:
        current = after(current, decision)
        standing = _shown(gravest(current), decision)
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
class _Stretch:
    """Items `first` … `last` of a batch under the same decisions."""

    first: int
    last: int
    current: InForce = ()
    coming: tuple[TimelineDecision, ...] = ()


def ranges(decisions: Sequence[TimelineDecision], now: datetime) -> tuple[RangeStanding, ...]:
    """The ranges of one batch, cut where anything changes: disjoint, in order, joined where they say the same.

    Raises Conflict beyond 1000 of them: the batch's card is read by each of its scans.
    """
    stretches: list[_Stretch] = []
    for decision in in_order(decisions):
        _paint(stretches, decision, begun=decision.effective_at <= now)
    standings: list[RangeStanding] = []
    for stretch in stretches:
        merged = _timeline(stretch.current, stretch.coming)
        if not merged.standings:
            continue
        if standings and standings[-1].last + 1 == stretch.first and standings[-1].timeline == merged:
            standings[-1] = RangeStanding(standings[-1].first, stretch.last, merged)
        else:
            standings.append(RangeStanding(stretch.first, stretch.last, merged))
    if len(standings) > MAX_RANGES:
        raise _conflict(
            "too-many-ranges",
            f"该批次的号段状态超过 {MAX_RANGES} 段；请改用整批或合并号段",
            f"this batch would have more than {MAX_RANGES} ranges of its own; decide on the batch, or on wider ranges",
        )
    return tuple(standings)


def _paint(stretches: list[_Stretch], decision: TimelineDecision, *, begun: bool) -> None:
    """Add one decision to disjoint stretches kept in order; a stretch without any decision is dropped."""
    first, last = decision.first, decision.last
    if first is None or last is None:
        raise ValueError("a decision about a range has bounds")
    low = bisect_left(stretches, first, key=lambda stretch: stretch.last)
    high = bisect_right(stretches, last, key=lambda stretch: stretch.first)
    cut = _cut(stretches[low:high], first, last)
    laid = (_laid(piece, decision, begun) if first <= piece.first <= last else piece for piece in cut)
    stretches[low:high] = [piece for piece in laid if piece.current or piece.coming]


def _cut(met: Sequence[_Stretch], first: int, last: int) -> Iterator[_Stretch]:
    """The stretches that a range meets, cut at its bounds, and empty stretches for the rest of the range."""
    bare = first  # the first item of the range that no yielded stretch covers yet
    for old in met:
        if old.first < first:
            yield replace(old, last=first - 1)
        if bare < old.first:
            yield _Stretch(bare, old.first - 1)
        yield replace(old, first=max(old.first, first), last=min(old.last, last))
        if old.last > last:
            yield replace(old, first=last + 1)
        bare = old.last + 1
    if bare <= last:
        yield _Stretch(bare, last)


def _laid(stretch: _Stretch, decision: TimelineDecision, begun: bool) -> _Stretch:
    if begun:
        return replace(stretch, current=after(stretch.current, decision))
    return replace(stretch, coming=(*stretch.coming, decision))


def in_force_within(decisions: Iterable[TimelineDecision], first: int, last: int, at: datetime) -> InForce:
    """Every decision in force at a moment on any item of a range."""
    stretches: list[_Stretch] = []
    for decision in in_order(decisions):
        if decision.effective_at <= at:
            _paint(stretches, decision, begun=True)
    met = (stretch.current for stretch in stretches if stretch.first <= last and first <= stretch.last)
    return tuple(dict.fromkeys(decision for current in met for decision in current))


def lifted_by(actor: Actor, current: Iterable[TimelineDecision]) -> Actor:
    """The actor whose decision a restoration ends: the caller's own where there is one, else the highest it may lift.

    Raises Forbidden where only a higher level's decision is in force at this scope, Conflict where none is.
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
            "what is in force was decided by a higher level; only that level or one above it can restore",
        )
        raise Forbidden(text, (Finding("higher-level", text),))
    raise _conflict(
        "nothing-to-restore",
        "该范围上没有生效的决定；其他范围的决定须在其原范围恢复，尚未生效的须以其生效时间恢复",
        "no decision is in force at this scope; one made at another scope is restored where it was made, "
        "one that is still to take effect is undone by restoring at its effective time",
    )


def check_pending(decisions: Iterable[TimelineDecision], now: datetime) -> None:
    """Raise Conflict where more than 50 decisions about one target wait to take effect."""
    if sum(decision.effective_at > now for decision in decisions) > MAX_PENDING:
        raise _conflict(
            "too-many-pending",
            f"该对象已有 {MAX_PENDING} 项待生效的决定",
            f"{MAX_PENDING} decisions about this target already wait to take effect",
        )


def _conflict(slug: str, zh: str, en: str) -> Conflict:
    text = Text(zh, en)
    return Conflict(text, (Finding(slug, text),))
