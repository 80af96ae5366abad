"""Decisions that a restored database lost, as the cards in Redis show them: graver ones protect at once, the rest waits.

Anybody who can write to Redis can write a card. So what is entered has the state of the card and nothing else of it: no text, no
notice, no name of an office. These wait, with the milder states, until a person confirms them (`zpcode.services.continuity.confirm`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch
from zpcode.rules.possible_cards import is_possible_target, is_possible_timeline, item_of
from zpcode.rules.status import timelines
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import decision
from zpcode.rules.status.recovery import (
    UNCONFIRMED_CALLER,
    CardReading,
    Decider,
    ProvenDecision,
    Span,
    read_ranges,
    read_timeline,
)
from zpcode.services.continuity import survey
from zpcode.services.continuity.survey import NewerCopy, ReadCards
from zpcode.services.status.log_entry import enter_in_log
from zpcode.store import batches, continuity, status
from zpcode.store.database.session import Connection
from zpcode.store.recovery_held import HeldDecision, HeldKind
from zpcode.wire.card import BatchCard, Standing, Timeline
from zpcode.wire.vocabulary import Scope

_TIMELINES: Final = msgspec.msgpack.Decoder(Timeline)


class EnteredDecision(NamedTuple):
    """A decision as it was entered, and what Redis claims of it."""

    change: StatusChange
    claim: Standing


@dataclass(slots=True)
class DecisionRecovery:
    """Enters decisions again within the transaction of a recovery.

    `entered` are the decisions, `waiting` what a person has to confirm, `keys` the cards that change. `settled` are the keys of cards
    that show nothing that the database lacks.
    """

    connection: Connection
    caller: Caller
    now: datetime
    entered: list[EnteredDecision] = field(default_factory=list)
    waiting: list[HeldDecision] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)

    def recover(self, cards: ReadCards) -> None:
        """Read every card that the database lost: of registry records, of single items, of batches."""
        newer = cards.newer
        for key in survey.kinds(newer, "s"):
            scope, _, target = key[2:].partition(":")
            if scope in set(Scope) and is_possible_target(Scope(scope), target):
                self._timeline(key, Scope(scope), target, newer[key])
        for key in survey.kinds(newer, "x"):
            item = item_of(key[2:])
            if item is not None and continuity.batches_with_record(self.connection, [item[0]]):
                self._timeline(key, Scope.CODE, key[2:], newer[key])
        for key, card in sorted(cards.batches.items()):
            self._batch(key, card, newer[key].revision)

    def _timeline(self, key: str, scope: Scope, target: str, copy: NewerCopy) -> None:
        shown = _TIMELINES.decode(copy.body)
        if is_possible_timeline(shown, self.now):
            decider = decider_of(self.connection, scope, target)
            self._take(key, decider, read_timeline(shown, self._earlier(decider), decider, self.now), copy.revision)

    def _batch(self, key: str, card: BatchCard, revision: int) -> None:
        for scope in (Scope.BATCH, Scope.RANGE):
            decider = decider_of(self.connection, scope, str(card.number))
            earlier = self._earlier(decider)
            if scope is Scope.BATCH:
                reading = read_timeline(card.timeline, earlier, decider, self.now)
            else:
                reading = read_ranges(card.ranges, earlier, decider, self.now)
            self._take(key, decider, reading, revision)

    def _take(self, key: str, decider: Decider, reading: CardReading, revision: int) -> None:
        claims = [(one.span, decider.claim(one.standing)) for one in reading.proven]
        for proven, (_, claim) in zip(reading.proven, claims, strict=True):
            self._enter(decider, proven, claim, {"witness": "redis", "card": key, "revision": revision})
        self.waiting += self._waiting_for(HeldKind.GRAVER, decider, claims)
        milder = [(one.span, decider.claim(standing)) for one in reading.milder for standing in one.timeline.standings]
        empty = [(one.span, None) for one in reading.milder if not one.timeline.standings]
        self.waiting += self._waiting_for(HeldKind.MILDER, decider, [*milder, *empty])
        (self.keys if reading.proven else self.settled).add(key)
        if reading.proven and decider.scope is Scope.CODE:
            self.keys.add(f"b:{decider.target.partition(':')[0]}")  # its card says that items have decisions

    def _enter(self, decider: Decider, proven: ProvenDecision, claim: Standing, source: Mapping[str, object]) -> None:
        record = decider.unconfirmed(proven, self.now)
        change = status.add(self.connection, record, UNCONFIRMED_CALLER.name)
        more = {"recovered": {**source, "claim": msgspec.to_builtins(claim)}}
        enter_in_log(self.connection, change, self.caller, more)
        self.entered.append(EnteredDecision(change, claim))

    def _waiting_for(
        self, kind: HeldKind, decider: Decider, claims: Sequence[tuple[Span, Standing | None]]
    ) -> Iterable[HeldDecision]:
        """One record for each range, or for the whole target, with what Redis showed of it in order."""
        by_span: dict[Span, list[Standing]] = {}
        for span, standing in claims:
            by_span.setdefault(span, []).extend(() if standing is None else [standing])
        for span, standings in by_span.items():
            first, last = span or (0, 0)
            timeline = msgspec.msgpack.encode(timelines.claimed(standings))
            yield HeldDecision(kind, decider.scope, decider.target, first, last, timeline, self.now)

    def _earlier(self, decider: Decider) -> list[timelines.TimelineDecision]:
        return [decision(change) for change in status.history(self.connection, decider.scope, decider.target)]


def decider_of(connection: Connection, scope: Scope, target: str) -> Decider:
    """Who a target belongs to, as far as the database still knows."""
    if scope in {Scope.CODE, Scope.RANGE, Scope.BATCH}:
        batch = _batch_of(connection, target)
        owner = None if batch is None else status.owner(connection, Scope.ENTERPRISE, batch.uscc)
    elif scope in {Scope.STANDARD, Scope.KEY}:
        owner = None
    else:
        owner = status.owner(connection, scope, target)
    return Decider(scope, target) if owner is None else Decider(scope, target, owner.uscc, owner.name)


def _batch_of(connection: Connection, target: str) -> Batch | None:
    number = target.partition(":")[0]
    return batches.get(connection, int(number)) if number.isdigit() else None
