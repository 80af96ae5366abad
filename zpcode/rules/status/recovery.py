"""What a card proves of decisions that a restored database has lost, and what it does not prove.

A card shows the standings of a target: the most severe decision in force at each moment, with reason, texts, notice and
decider. A standing that the database does not give is a lost decision, and it is entered again. A card can also be milder
than the database's decisions: then a restoration was lost, or a milder decision of the same authority. That is never
entered by itself: the graver state holds until a person confirms it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from zpcode.rules.access import Caller, Role
from zpcode.rules.regions import PROVINCE, REGIONS, office_of
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import STATES, Action
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, actor_of
from zpcode.rules.status.reasons import REASONS
from zpcode.rules.status.records import decision
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.calendar import seconds
from zpcode.wire.card import RangeLayer, Standing, Timeline
from zpcode.wire.timelines import item_timeline
from zpcode.wire.vocabulary import SEVERITY, Bilingual, Scope, State

CREDENTIAL: Final = "recovery"
"""The credential in `decided_by` of a decision that was entered again."""
_LATEST: Final = 2**62  # above all numbers; the database assigns the real ones
Span = tuple[int, int] | None
"""The first and last index of a range; None for a decision that is not about a range."""


@dataclass(frozen=True, slots=True)
class ProvenDecision:
    """A decision that a card proves: its standing, and the range that it is about."""

    standing: Standing
    span: Span = None


@dataclass(frozen=True, slots=True)
class MilderCard:
    """A card that is milder than the decisions: what it showed, and for which range."""

    timeline: Timeline
    span: Span = None


@dataclass(frozen=True, slots=True)
class CardReading:
    """What the card of one target tells: decisions to enter again, and where it is milder than the decisions then are."""

    proven: tuple[ProvenDecision, ...] = ()
    milder: tuple[MilderCard, ...] = ()


def read_timeline(
    shown: Timeline, decisions: Sequence[TimelineDecision], decider: Decider, now: datetime
) -> CardReading:
    """Compare the timeline on a card with all decisions of the database about its target."""
    entered: list[TimelineDecision] = []
    proven: list[ProvenDecision] = []
    for standing in shown.standings:
        if standing.state is State.GOOD or _is_given(standing, shown, [*decisions, *entered], now):
            continue
        new = decider.decision(standing, _LATEST + len(entered))
        if _is_milder([*decisions, *entered, new], [*decisions, *entered], now):
            continue  # it took the place of a graver decision of the same authority: reported as milder below
        entered.append(new)
        proven.append(ProvenDecision(standing))
    lenient = _severities(shown, moments := _moments(shown.standings, [*decisions, *entered], now), now)
    strict = _severities(timelines.timeline([*decisions, *entered], now), moments, now)
    milder = any(one < other for one, other in zip(lenient, strict, strict=True))
    return CardReading(tuple(proven), (MilderCard(shown),) if milder else ())


def read_ranges(
    shown: Sequence[RangeLayer], decisions: Sequence[TimelineDecision], decider: Decider, now: datetime
) -> CardReading:
    """Compare the ranges on a batch card with all range decisions of the database about the batch."""
    proven: list[ProvenDecision] = []
    milder: list[MilderCard] = []
    for first, last in _pieces(shown, decisions):
        timeline = item_timeline(shown, first) or timelines.timeline((), now)
        within = [one for one in decisions if one.bounds[0] <= first <= one.bounds[1]]
        part = read_timeline(timeline, within, decider, now)
        proven += [ProvenDecision(one.standing, (first, last)) for one in part.proven]
        milder += [MilderCard(one.timeline, (first, last)) for one in part.milder]
    return CardReading(_joined(proven), tuple(milder))


@dataclass(frozen=True, slots=True)
class Decider:
    """Who made the decisions about one target, as far as a card tells: it shows a public name.

    `uscc` and `name` are those of the enterprise that the target belongs to; None and empty for a standard or a key.
    """

    scope: Scope
    target: str
    uscc: str | None = None
    name: Bilingual = NO_NOTE

    def caller(self, decided_by: Bilingual) -> Caller:
        """The caller with this public name: the enterprise, an office, else the operator."""
        if self.uscc is not None and decided_by == self.name:
            return Caller(Role.ENTERPRISE, self.uscc, CREDENTIAL)
        region = _OFFICES.get(decided_by)
        return Caller(Role.OPERATOR, "*", CREDENTIAL) if region is None else Caller(Role.REGULATOR, region, CREDENTIAL)

    def decision(self, standing: Standing, number: int = 0) -> TimelineDecision:
        """The decision that gives this standing."""
        return decision(
            self.record(ProvenDecision(standing), datetime.fromtimestamp(standing.effective_at, UTC), number)
        )

    def record(self, proven: ProvenDecision, now: datetime, number: int = 0) -> StatusChange:
        """The record of a proven decision. Its legal basis is not on the card, so it is lost."""
        standing, span = proven.standing, proven.span
        caller = self.caller(standing.decided_by)
        return StatusChange(
            id=number,
            scope=self.scope,
            target=self.target,
            first=None if span is None else span[0],
            last=None if span is None else span[1],
            action=action_of(standing),
            reason=standing.reason,
            state=standing.state,
            lifts=None,
            legal_basis="",
            note=standing.note,
            notice=standing.notice,
            effective_at=datetime.fromtimestamp(standing.effective_at, UTC),
            actor=actor_of(caller),
            authority=standing.decided_by,
            uscc=self.uscc,
            created_at=now,
        )


def action_of(standing: Standing) -> Action:
    """The action that gives the state of a standing for its reason."""
    reason = REASONS.get(standing.reason)
    if standing.state is State.ENDED:
        return Action.REVOKE
    fits = [action for action, state in STATES.items() if state is standing.state]
    return next((action for action in fits if reason is None or action in reason.actions), fits[0])


_OFFICES: Final = {office_of(code): code for code in (PROVINCE, *REGIONS)}


def _is_given(standing: Standing, shown: Timeline, decisions: Sequence[TimelineDecision], now: datetime) -> bool:
    """Whether the decisions already give this standing: one of them is it, and the target is as severe at its time."""
    if not any(_same(one.standing, standing) for one in decisions if one.lifts is None):
        return False
    moment = max(standing.effective_at, seconds(now))
    if shown.at(moment) is not standing:
        return True  # it is over: another standing of the card has taken its place
    given = timelines.timeline(decisions, now).at(moment)
    return given is not None and SEVERITY[given.state] >= SEVERITY[standing.state]


def _same(one: Standing, other: Standing) -> bool:
    """Whether two standings are the same decision: an older one that is shown again has another time."""
    fields = ("state", "reason", "notice", "note", "decided_by")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def _is_milder(after: Sequence[TimelineDecision], before: Sequence[TimelineDecision], now: datetime) -> bool:
    """Whether one more decision makes the target milder at any time from now on."""
    moments = _moments((), after, now)
    old = _severities(timelines.timeline(before, now), moments, now)
    new = _severities(timelines.timeline(after, now), moments, now)
    return any(one < other for one, other in zip(new, old, strict=True))


def _moments(shown: Iterable[Standing], decisions: Iterable[TimelineDecision], now: datetime) -> list[int]:
    """The moments from now on at which anything changes, in seconds."""
    changes = {standing.effective_at for standing in shown}
    changes |= {one.standing.effective_at for one in decisions}
    return sorted({seconds(now), *(moment for moment in changes if moment > seconds(now))})


def _severities(timeline: Timeline, moments: Iterable[int], now: datetime) -> list[int]:
    """The severity at each moment. `begun` counts until a later standing has taken effect."""
    severities = []
    for moment in moments:
        standing = timeline.at(max(moment, seconds(now)))
        severities.append(0 if standing is None else SEVERITY[standing.state])
    return severities


def _pieces(shown: Sequence[RangeLayer], decisions: Sequence[TimelineDecision]) -> list[tuple[int, int]]:
    """The parts of a batch within which neither the card nor the decisions change from item to item."""
    spans = [(entry.first, entry.last) for layer in shown for entry in (*layer.current, *layer.coming)]
    spans += [one.bounds for one in decisions]
    edges = sorted({edge for first, last in spans for edge in (first, last + 1)})
    pieces = [(first, after - 1) for first, after in pairwise(edges)]
    return [piece for piece in pieces if any(first <= piece[0] <= last for first, last in spans)]


def _joined(proven: Sequence[ProvenDecision]) -> tuple[ProvenDecision, ...]:
    """The same decisions with neighbouring parts of one range joined."""
    joined: list[ProvenDecision] = []
    for one in proven:
        at = next((index for index, other in enumerate(joined) if _adjoins(other, one)), None)
        if at is None or one.span is None:
            joined.append(one)
        else:
            before = joined[at].span
            joined[at] = ProvenDecision(one.standing, (one.span[0] if before is None else before[0], one.span[1]))
    return tuple(joined)


def _adjoins(one: ProvenDecision, other: ProvenDecision) -> bool:
    return one.standing == other.standing and one.span is not None and other.span is not None and one.span[1] + 1 == other.span[0]  # fmt: skip
