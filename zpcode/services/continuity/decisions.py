"""Decisions that a restored database lost: entered again where the cards in Redis prove them, waiting where they are milder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from zpcode.rules.access import Caller
from zpcode.rules.status import timelines
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import decision
from zpcode.rules.status.recovery import CardReading, Decider, MilderCard, ProvenDecision, read_ranges, read_timeline
from zpcode.services.continuity import survey
from zpcode.services.continuity.survey import NewerCopy
from zpcode.services.status.log_entry import enter_in_log
from zpcode.store import batches, status
from zpcode.store.database.session import Connection
from zpcode.store.recovery import HeldDecision
from zpcode.wire.card import Timeline
from zpcode.wire.vocabulary import Scope

_TIMELINES: Final = msgspec.msgpack.Decoder(Timeline)
_LIFTED: Final = "entered-in-error"  # the one reason for a restoration at every scope, by every actor


@dataclass(slots=True)
class DecisionRecovery:
    """Enters decisions again within the transaction of a recovery.

    `entered` are the decisions, `unconfirmed` what a person has to confirm, `keys` the cards that change. `settled` are the keys
    of cards that show nothing that the database lacks.
    """

    connection: Connection
    caller: Caller
    now: datetime
    entered: list[StatusChange] = field(default_factory=list)
    unconfirmed: list[HeldDecision] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)

    def recover(self, newer: Mapping[str, NewerCopy]) -> None:
        """Read every card that the database lost: of registry records, of single items, of batches."""
        for key in survey.kinds(newer, "s"):
            scope, _, target = key[2:].partition(":")
            if scope in set(Scope):
                self._timeline(key, Scope(scope), target, newer[key])
        for key in survey.kinds(newer, "x"):
            self._timeline(key, Scope.CODE, key[2:], newer[key])
        for key in survey.kinds(newer, "b"):
            self._batch(key, newer[key])

    def _timeline(self, key: str, scope: Scope, target: str, copy: NewerCopy) -> None:
        try:
            shown = _TIMELINES.decode(copy.body)
        except (msgspec.MsgspecError, ValueError):
            return  # not a timeline: it is listed as unproven
        decider, earlier = self._decider(scope, target), self._earlier(scope, target)
        self._take(key, decider, read_timeline(shown, earlier, decider, self.now), copy.revision)

    def _batch(self, key: str, copy: NewerCopy) -> None:
        card, target = survey.decode_batch(copy.body), key[2:]
        if card is None or not target.isdigit():
            return
        for scope in (Scope.BATCH, Scope.RANGE):
            decider, earlier = self._decider(scope, target), self._earlier(scope, target)
            if scope is Scope.BATCH:
                reading = read_timeline(card.timeline, earlier, decider, self.now)
            else:
                reading = read_ranges(card.ranges, earlier, decider, self.now)
            self._take(key, decider, reading, copy.revision)

    def _take(self, key: str, decider: Decider, reading: CardReading, revision: int) -> None:
        for proven in reading.proven:
            self._enter(decider, proven, revision)
        self.unconfirmed += [_to_confirm(decider, one) for one in reading.milder]
        (self.keys if reading.proven else self.settled).add(key)
        if reading.proven and decider.scope is Scope.CODE:
            self.keys.add(f"b:{decider.target.partition(':')[0]}")  # its card says that items have decisions

    def _enter(self, decider: Decider, proven: ProvenDecision, revision: int) -> None:
        record = decider.record(proven, self.now)
        decided = status.add(self.connection, record, decider.caller(proven.standing.decided_by).name)
        enter_in_log(self.connection, decided, self.caller, {"recovered": {"revision": revision}})
        self.entered.append(decided)

    def _earlier(self, scope: Scope, target: str) -> list[timelines.TimelineDecision]:
        return [decision(change) for change in status.history(self.connection, scope, target)]

    def _decider(self, scope: Scope, target: str) -> Decider:
        return decider_of(self.connection, scope, target)


def decider_of(connection: Connection, scope: Scope, target: str) -> Decider:
    """Who a target belongs to, as far as the database still knows."""
    if scope in {Scope.CODE, Scope.RANGE, Scope.BATCH}:
        number = target.partition(":")[0]
        batch = batches.get(connection, int(number)) if number.isdigit() else None
        owner = None if batch is None else status.owner(connection, Scope.ENTERPRISE, batch.uscc)
    elif scope in {Scope.STANDARD, Scope.KEY}:
        owner = None
    else:
        owner = status.owner(connection, scope, target)
    return Decider(scope, target) if owner is None else Decider(scope, target, owner.uscc, owner.name)


def _to_confirm(decider: Decider, milder: MilderCard) -> HeldDecision:
    first, last = milder.span or (0, 0)
    return HeldDecision(decider.scope, decider.target, first, last, msgspec.msgpack.encode(milder.timeline))
