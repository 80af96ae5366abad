"""What a card in Redis says of decisions that a restored database has lost, and what of it is entered.

A card shows the standings of a target: the most severe decision in force at each moment, with reason, texts, notice and
decider. A standing that the database does not give may be a lost decision, or somebody who can write to Redis has made it up. So
its *state* is entered at once, because protecting people never waits, as a decision of the actor `recovery`. Texts, notice and the
name of an office are a *claim*: nobody sees them on a page until a person has confirmed them. The actor is a separate level: so what
is entered replaces no decision of an office, and rejecting it loses none.

A card can also be milder than the database's decisions: then a restoration was lost, or a milder decision of the same authority.
That is never entered by itself: the graver state holds until a person confirms it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from msgspec import structs

from zpcode.errors import Finding, Refused, Text
from zpcode.rules.access import Caller, Role
from zpcode.rules.regions import PROVINCE, REGIONS, office_of
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import STATES, Action
from zpcode.rules.status.permissions import (
    MAX_NOTICE,
    MAX_TEXT,
    NO_NOTE,
    UNCONFIRMED,
    StatusChange,
    StatusRequest,
    actor_of,
    authority_of,
    check,
    permit,
    text_faults,
)
from zpcode.rules.status.reasons import REASONS, RECOVERED
from zpcode.rules.status.records import decision
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.calendar import seconds
from zpcode.wire.card import RangeLayer, Standing, Timeline
from zpcode.wire.timelines import item_timeline
from zpcode.wire.vocabulary import SEVERITY, Bilingual, Scope, State

CREDENTIAL: Final = "recovery"
"""The credential in `decided_by` of a decision that was entered again and confirmed by a person."""
UNCONFIRMED_CALLER: Final = Caller(Role.OPERATOR, "*", UNCONFIRMED)
UNCONFIRMED_AUTHORITY: Final = Bilingual(
    "浙品码平台（数据恢复，待核实）", "浙品码 (recovered records, to be confirmed)"
)
LOST_BASIS: Final = "（依据在数据恢复前的记录中 / in the records before the recovery）"
"""The legal basis of a decision that was entered again: no card has it."""
_OPERATOR: Final = Caller(Role.OPERATOR, "*", CREDENTIAL)
_LATEST: Final = 2**62  # above all numbers; the database assigns the real ones
Span = tuple[int, int] | None
"""The first and last index of a range; None for a decision that is not about a range."""


@dataclass(frozen=True, slots=True)
class ProvenDecision:
    """A decision that a card shows and the database lacks: its standing, and the range that it is about."""

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
        new = decider.decision(standing, now, _LATEST + len(entered))
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
    """Who may have made the decisions about one target, as far as the database still knows.

    `uscc` and `name` are those of the enterprise that the target belongs to; None and empty for a standard or a key.
    """

    scope: Scope
    target: str
    uscc: str | None = None
    name: Bilingual = NO_NOTE

    def caller(self, decided_by: Bilingual) -> Caller | None:
        """The caller with this public name: the enterprise, an office, or the operator; None where nobody has it."""
        if self.uscc is not None and decided_by == self.name:
            return Caller(Role.ENTERPRISE, self.uscc, CREDENTIAL)
        if decided_by == authority_of(_OPERATOR, NO_NOTE):
            return _OPERATOR
        region = _OFFICES.get(decided_by)
        return None if region is None else Caller(Role.REGULATOR, region, CREDENTIAL)

    def claim(self, standing: Standing) -> Standing:
        """The standing without texts that no decision can have: what is left may be stored and shown to a person.

        A name that is nobody's is left out, so nothing is ever attributed to it.
        """
        return structs.replace(
            standing,
            reason=standing.reason if standing.reason in REASONS else "",
            notice=standing.notice if not text_faults(standing.notice, MAX_NOTICE) else "",
            note=standing.note if _is_note(standing.note) else NO_NOTE,
            decided_by=NO_NOTE if self.caller(standing.decided_by) is None else standing.decided_by,
        )

    def decision(self, standing: Standing, now: datetime, number: int = 0) -> TimelineDecision:
        """The decision that is entered for this standing."""
        return decision(self.unconfirmed(ProvenDecision(standing), now, number))

    def unconfirmed(self, proven: ProvenDecision, now: datetime, number: int = 0) -> StatusChange:
        """The record that protects at once: the state of the standing, and neither its texts nor the name of an office."""
        standing = proven.standing
        begun = standing.begun or standing.effective_at <= seconds(now)
        return replace(
            self._record(proven, UNCONFIRMED_CALLER, now, number),
            reason=RECOVERED,
            note=NO_NOTE,
            notice="",
            effective_at=now if begun else datetime.fromtimestamp(standing.effective_at, UTC),
            authority=UNCONFIRMED_AUTHORITY,
        )

    def confirmed(self, proven: ProvenDecision, now: datetime) -> tuple[StatusChange, Caller]:
        """The record of a decision that a person confirmed, and who made it. Its legal basis is on no card, so it is lost.

        Raises Refused or Forbidden if nobody could have made such a decision: then it has to be made anew.
        """
        caller = self.caller(proven.standing.decided_by)
        if caller is None:
            text = Text("不知由谁作出，请重新作出决定", "nobody knows who made it: decide anew")
            raise Refused(text, (Finding("authority-unknown", text),))
        record = self._record(proven, caller, now)
        asked = StatusRequest(
            self.scope, self.target, record.action, record.reason, record.first, record.last, LOST_BASIS, record.note, record.notice
        )  # fmt: skip
        permit(asked, record.actor)
        check(asked, record.actor, now)
        return record, caller

    def _record(self, proven: ProvenDecision, caller: Caller, now: datetime, number: int = 0) -> StatusChange:
        standing, span = proven.standing, proven.span
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
            legal_basis=LOST_BASIS,
            note=standing.note,
            notice=standing.notice,
            effective_at=datetime.fromtimestamp(standing.effective_at, UTC),
            actor=actor_of(caller),
            authority=standing.decided_by,
            uscc=self.uscc,
            created_at=now,
        )


def _is_note(note: Bilingual) -> bool:
    """Whether a decision can have this public note."""
    return not any(text_faults(text, MAX_TEXT) for text in (note.zh, note.en)) and bool(note.zh or not note.en)


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
    """The same decisions with neighbouring parts of one range joined. `proven` is in the order of the parts."""
    joined: dict[Standing, list[Span]] = {}
    for one in proven:
        spans = joined.setdefault(one.standing, [])
        last = spans[-1] if spans else None
        if last is not None and one.span is not None and last[1] + 1 == one.span[0]:
            spans[-1] = (last[0], one.span[1])
        else:
            spans.append(one.span)
    return tuple(ProvenDecision(standing, span) for standing, spans in joined.items() for span in spans)
