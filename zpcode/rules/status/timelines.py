"""Timelines: which decisions about one target are in force, now and later.

The same rule applies to an item, a range (`zpcode.rules.status.ranges`) and a registry record. Each kind of decider
(`Actor`) has at most one decision in force, its latest. A restoration ends the decision of the actor that it names. The
consumer sees the most severe decision in force. So a lower level never weakens the decision of a higher level, and a flag
never hides a recall.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from zpcode.errors import Conflict, Finding, Forbidden, Text
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import RANK, may_lift
from zpcode.wire.card import Standing, Timeline
from zpcode.wire.timelines import composed
from zpcode.wire.vocabulary import State

LEVELS: Final = (Actor.RECOVERY, Actor.ENTERPRISE, Actor.COUNTY, Actor.CITY, Actor.OPERATOR, Actor.PROVINCE)
"""The actors from the lowest level to the highest, as a card has them; of equally severe decisions the last is shown."""


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

    @property
    def level(self) -> Actor:
        """The actor whose decision this one replaces or ends."""
        return self.actor if self.lifts is None else self.lifts

    @property
    def bounds(self) -> tuple[int, int]:
        """The ends of its range, both included. A whole target is one item."""
        return (0, 0) if self.first is None or self.last is None else (self.first, self.last)

    @property
    def shown(self) -> Standing:
        """What its level decides from now on: the decision, or for a restoration GOOD with the restoration's reason."""
        if self.lifts is None:
            return self.standing
        return Standing(State.GOOD, self.standing.effective_at, self.standing.reason)


InForce = tuple[TimelineDecision, ...]  # at most one of each actor


def in_order(decisions: Iterable[TimelineDecision]) -> list[TimelineDecision]:
    """Decisions in the order in which they take effect."""
    return sorted(decisions, key=lambda decision: (decision.effective_at, decision.id))


def after(current: InForce, decision: TimelineDecision) -> InForce:
    """The decisions in force after one more decision has taken effect."""
    others = tuple(one for one in current if one.actor is not decision.level)
    return others if decision.lifts is not None else (*others, decision)


def in_force(decisions: Iterable[TimelineDecision], at: datetime) -> InForce:
    """The decisions in force at a time."""
    current: InForce = ()
    for decision in in_order(decisions):
        if decision.effective_at <= at:
            current = after(current, decision)
    return current


def timeline(decisions: Sequence[TimelineDecision], now: datetime) -> Timeline:
    """The decision in force now, and all later changes. Empty if the target is good now and later."""
    current: list[Standing | None] = [None] * len(LEVELS)
    for one in in_force(decisions, now):
        current[LEVELS.index(one.actor)] = one.standing
    coming = [decision for decision in in_order(decisions) if decision.effective_at > now]
    return Timeline(composed(current, [(LEVELS.index(one.level), one.shown) for one in coming]))


def claimed(standings: Iterable[Standing]) -> Timeline:
    """What a card in Redis claims of a target, in order. Empty if it shows the target as good."""
    return Timeline(tuple(standings))


def lifted_by(actor: Actor, current: Iterable[TimelineDecision]) -> Actor:
    """The actor whose decision a restoration ends: the caller itself if it has one, else the highest that it may lift.

    Raises Forbidden if all decisions in force at this scope are of higher levels or unconfirmed, Conflict if there is none.
    """
    deciders = {decision.actor for decision in current}
    liftable = [decider for decider in deciders if may_lift(actor, decider)]
    if actor in liftable:
        return actor
    if liftable:
        return max(liftable, key=lambda decider: RANK[decider])
    if deciders == {Actor.RECOVERY}:
        text = Text(
            "现行状态由数据恢复录入，尚待核实；平台运营方须先执行 zpcode recover --confirm 或 --reject",
            "the state in force was entered by a recovery and waits to be confirmed; the operator has to run zpcode recover"
            " --confirm or --reject first",
        )
        raise Forbidden(text, (Finding("unconfirmed", text),))
    if deciders:
        text = Text(
            "现行决定由上级作出，只能由作出决定的级别或其上级恢复",
            "the decision in force was made by a higher level; only that level or one above it can restore",
        )
        raise Forbidden(text, (Finding("higher-level", text),))
    text = Text(
        "该范围上没有生效的决定；其他范围的决定须在其原范围恢复，尚未生效的须以其生效时间恢复",
        "no decision is in force at this scope; restore a decision of another scope at its own scope, "
        "and a decision that has not taken effect yet with its effective time",
    )
    raise Conflict(text, (Finding("nothing-to-restore", text),))
