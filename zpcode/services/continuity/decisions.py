"""Decisions that a restored database lost: entered again where the cards in Redis prove them, waiting where they are milder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import msgspec

from zpcode.errors import NotFound, Text
from zpcode.rules.access import Caller
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, actor_of, authority_of
from zpcode.rules.status.records import audit_detail, decision
from zpcode.rules.status.recovery import CardReading, Decider, MilderCard, ProvenDecision, read_ranges, read_timeline
from zpcode.services.continuity import survey
from zpcode.services.continuity.survey import NewerCopy
from zpcode.services.fsck.cards import derived_cards
from zpcode.services.notices import encoded_card
from zpcode.store import audit, batches, cards, recovery, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.monitoring import integrity
from zpcode.store.recovery import HeldDecision
from zpcode.wire.card import Timeline
from zpcode.wire.vocabulary import Scope, State

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


def enter_in_log(connection: Connection, decided: StatusChange, caller: Caller, more: Mapping[str, object]) -> None:
    """The audit entry of a decision that a recovery entered, or a person confirmed."""
    audit.append(
        connection,
        at=decided.created_at,
        actor=caller.name,
        action=f"status.{decided.action}",
        object_=f"{decided.scope}:{decided.target}",
        detail={**audit_detail(decided), **more},
    )


def _to_confirm(decider: Decider, milder: MilderCard) -> HeldDecision:
    first, last = milder.span or (0, 0)
    return HeldDecision(decider.scope, decider.target, first, last, msgspec.msgpack.encode(milder.timeline))


def confirm(engine: Engine, scope: Scope, target: str, *, caller: Caller, now: datetime) -> list[StatusChange]:
    """Confirm that what Redis showed of a target was right: lift the graver decisions, and enter what was shown instead.

    Raises NotFound if nothing about this target is waiting, DatabaseBehind, Unavailable.
    """
    with transaction(engine) as connection:
        audit.lock(connection)
        waiting = [one for one in recovery.held_decisions(connection) if (one.scope, one.target) == (scope, target)]
        if not waiting:
            raise NotFound(Text(f"没有待确认的决定：{scope}:{target}", f"nothing is held about {scope}:{target}"))
        decided = [change for one in waiting for change in _confirmed(connection, one, caller, now)]
        recovery.confirm(connection, scope, target, now)
        _write_cards(connection, scope, target)
        return decided


def _confirmed(connection: Connection, waiting: HeldDecision, caller: Caller, now: datetime) -> list[StatusChange]:
    decider = decider_of(connection, waiting.scope, waiting.target)
    span = (waiting.first, waiting.last) if waiting.scope is Scope.RANGE else None
    shown = _TIMELINES.decode(waiting.timeline)
    decisions = [decision(one) for one in status.history(connection, waiting.scope, waiting.target)]
    within = [one for one in decisions if span is None or (one.bounds[0] <= span[0] and span[1] <= one.bounds[1])]
    records = [
        replace(_restoration(decider, caller, span, now), lifts=one.actor) for one in timelines.in_force(within, now)
    ]
    records += [
        decider.record(ProvenDecision(one, span), now) for one in shown.standings if one.state is not State.GOOD
    ]
    decided = []
    for record in records:
        by = caller if record.action is Action.RESTORE else decider.caller(record.authority)
        new = status.add(connection, record, by.name)
        enter_in_log(connection, new, caller, {"confirmed": True})
        decided.append(new)
    return decided


def _restoration(decider: Decider, caller: Caller, span: tuple[int, int] | None, now: datetime) -> StatusChange:
    return StatusChange(
        id=0,
        scope=decider.scope,
        target=decider.target,
        first=None if span is None else span[0],
        last=None if span is None else span[1],
        action=Action.RESTORE,
        reason=_LIFTED,
        state=State.GOOD,
        lifts=None,
        legal_basis="",
        note=NO_NOTE,
        notice="",
        effective_at=now,
        actor=actor_of(caller),
        authority=authority_of(caller, decider.name),
        uscc=decider.uscc,
        created_at=now,
    )


def _write_cards(connection: Connection, scope: Scope, target: str) -> None:
    """Derive the cards that a decision about this target changes."""
    number = target.partition(":")[0]
    keys = [f"b:{number}"] if scope in {Scope.BATCH, Scope.RANGE, Scope.CODE} else [f"s:{scope}:{target}"]
    if scope is Scope.CODE:
        keys.append(f"x:{target}")
    _, day = integrity.newest_card(connection)
    derived = derived_cards(connection, keys, day, status.batches_with_items(connection))
    written = {key: msgspec.msgpack.encode(card) for key, card in derived.items()}
    cards.put_cards(connection, {**written, **encoded_card(connection)})
