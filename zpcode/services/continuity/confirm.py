"""A person confirms that a milder state which Redis showed was right: the graver decisions are lifted."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from zpcode.errors import NotFound, Text
from zpcode.rules.access import Caller
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, actor_of, authority_of
from zpcode.rules.status.records import decision
from zpcode.rules.status.recovery import Decider, ProvenDecision
from zpcode.services.continuity.decisions import decider_of
from zpcode.services.fsck.cards import derived_cards
from zpcode.services.notices import encoded_card
from zpcode.services.status.log_entry import enter_in_log
from zpcode.store import audit, cards, recovery, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.monitoring import integrity
from zpcode.store.recovery import HeldDecision
from zpcode.wire.card import Timeline
from zpcode.wire.vocabulary import Scope, State

_TIMELINES: Final = msgspec.msgpack.Decoder(Timeline)
_LIFTED: Final = "entered-in-error"  # the one reason for a restoration at every scope, by every actor


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
