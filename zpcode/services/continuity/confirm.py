"""A person confirms what Redis showed of decisions, or rejects it. Nothing is altered: both are new decisions.

Confirmed: the decisions are entered with their texts, in the name of who made them, and what the recovery had entered in their place
is lifted. Where Redis showed a milder state, the graver decisions of before the recovery are lifted. Rejected: only what the recovery
had entered is lifted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from zpcode.errors import Conflict, Finding, Forbidden, NotFound, Refused, Text
from zpcode.rules.access import Caller
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import Action, Actor
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, actor_of, authority_of
from zpcode.rules.status.records import decision
from zpcode.rules.status.recovery import Decider, ProvenDecision, Span
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.services.continuity.decisions import decider_of
from zpcode.services.continuity.derived import write_cards
from zpcode.services.records.recovered import logged_changes
from zpcode.services.status.log_entry import enter_in_log
from zpcode.store import recovery_held, status
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity
from zpcode.store.recovery_held import HeldDecision, HeldKind
from zpcode.wire.card import Standing, Timeline, batch_key, item_key, standing_key
from zpcode.wire.vocabulary import Scope, State

_TIMELINES: Final = msgspec.msgpack.Decoder(Timeline)
_LIFTED: Final = "entered-in-error"  # the one reason for a restoration at every scope, by every actor
Made = list[tuple[StatusChange, str]]
"""Decisions to record, each with the name of who made it."""


def standings_of(waiting: HeldDecision) -> tuple[Standing, ...]:
    """What Redis showed of a target, in order; empty if it showed it as good."""
    return _TIMELINES.decode(waiting.timeline).standings


def refusal_of(connection: Connection, waiting: HeldDecision, now: datetime) -> Text | None:
    """Why a person cannot confirm what Redis showed; None where this is possible."""
    decider = decider_of(connection, waiting.scope, waiting.target)
    try:
        for standing in standings_of(waiting):
            if standing.state is not State.GOOD:
                decider.confirmed(ProvenDecision(standing, waiting.span), now)
    except (Refused, Forbidden) as refused:
        return refused.findings[0].text if refused.findings else refused.text
    return None


def confirm(connection: Connection, scope: Scope, target: str, *, caller: Caller, now: datetime) -> list[StatusChange]:
    """Confirm that all that Redis showed of a target was right. The caller has the lock of the audit log.

    Raises NotFound if nothing about this target waits, Conflict if nobody could have made such a decision, DatabaseBehind.
    """
    waiting = _waiting(connection, scope, target)
    for one in waiting:
        if (why := refusal_of(connection, one, now)) is not None:
            text = Text(
                f"{scope}:{target} 不能照此确认（{why.zh}）；请重新作出决定，再执行 zpcode recover --reject {scope}:{target}",
                f"{scope}:{target} cannot be confirmed as it is ({why.en}); decide anew, then run zpcode recover --reject"
                f" {scope}:{target}",
            )
            raise Conflict(text, (Finding("cannot-confirm", text),))
    decider = decider_of(connection, scope, target)
    history = status.history(connection, scope, target)
    lifted = [*_lifted_recovery(decider, waiting, history, caller, now), *_lifted_graver(decider, waiting, history, caller, now)]  # fmt: skip
    made = [*lifted, *_entered(decider, waiting, history, {one.lifts for one, _ in lifted}, now)]
    return _settle(connection, decider, made, caller, now, confirmed=True)


def reject(connection: Connection, scope: Scope, target: str, *, caller: Caller, now: datetime) -> list[StatusChange]:
    """Reject all that Redis showed of a target. The caller has the lock of the audit log. Raises NotFound, DatabaseBehind."""
    waiting = _waiting(connection, scope, target)
    decider = decider_of(connection, scope, target)
    history = status.history(connection, scope, target)
    made = list(_lifted_recovery(decider, waiting, history, caller, now))
    return _settle(connection, decider, made, caller, now, confirmed=False)


def _waiting(connection: Connection, scope: Scope, target: str) -> list[HeldDecision]:
    held_ones = recovery_held.held_decisions(connection)
    waiting = [one for one in held_ones if (one.scope, one.target) == (scope, target)]
    if not waiting:
        raise NotFound(Text(f"没有待确认的决定：{scope}:{target}", f"nothing waits about {scope}:{target}"))
    return waiting


def _settle(
    connection: Connection, decider: Decider, made: Made, caller: Caller, now: datetime, *, confirmed: bool
) -> list[StatusChange]:
    """Record the decisions and what they settle, and derive the cards."""
    decided = []
    for record, by in made:
        new = status.add(connection, record, by)
        enter_in_log(connection, new, caller, {"confirmed" if confirmed else "rejected": True})
        decided.append(new)
    with logged_changes(connection, caller, now, f"{decider.scope}:{decider.target}"):
        recovery_held.settle_decisions(connection, decider.scope, decider.target, now, confirmed=confirmed)
    _, day = integrity.newest_card(connection)
    write_cards(connection, _card_keys(decider.scope, decider.target), day)
    return decided


def _entered(
    decider: Decider,
    waiting: Sequence[HeldDecision],
    history: Sequence[StatusChange],
    lifted: Collection[Actor | None],
    now: datetime,
) -> Iterator[tuple[StatusChange, str]]:
    """The decisions that Redis showed, in the name of who made them. `lifted` are the actors whose decisions end now."""
    graver_first = sorted(waiting, key=lambda one: one.kind)
    shown = dict.fromkeys(
        (standing, one.span, one.at)
        for one in graver_first
        for standing in standings_of(one)
        if standing.state is not State.GOOD
    )
    for standing, span, at in shown:
        record, by = decider.confirmed(ProvenDecision(standing, span), now)
        hidden = record.actor in lifted or any(_hides(one, record, at) for one in history)
        yield replace(record, effective_at=max(now, record.effective_at)) if hidden else record, by.name


def _hides(earlier: StatusChange, record: StatusChange, at: datetime) -> bool:
    """Whether a decision from before the recovery would hide a confirmed one of the same actor: it takes effect later."""
    same = (earlier.lifts or earlier.actor) is record.actor
    return same and earlier.created_at <= at and earlier.effective_at > record.effective_at


def _lifted_graver(
    decider: Decider, waiting: Sequence[HeldDecision], history: Sequence[StatusChange], caller: Caller, now: datetime
) -> Iterator[tuple[StatusChange, str]]:
    """The restorations of graver decisions from before a recovery where Redis showed a milder state."""
    for one in waiting:
        if one.kind is HeldKind.MILDER:
            before = [decision(change) for change in history if change.created_at <= one.at]
            for lifted in _in_force_or_coming(before, one.span, now):
                if lifted.actor is not Actor.RECOVERY:
                    yield _restoration(decider, caller, lifted, one.span, now), caller.name


def _lifted_recovery(
    decider: Decider, waiting: Sequence[HeldDecision], history: Sequence[StatusChange], caller: Caller, now: datetime
) -> Iterator[tuple[StatusChange, str]]:
    """The restorations of what the recoveries have entered about this target that nobody has confirmed."""
    recovered_at = {one.at for one in waiting}
    for change in history:
        if change.actor is Actor.RECOVERY and change.created_at in recovered_at:
            entered = decision(change)
            span = None if change.first is None else entered.bounds
            yield _restoration(decider, caller, entered, span, now), caller.name


def _in_force_or_coming(decisions: Iterable[TimelineDecision], span: Span, now: datetime) -> list[TimelineDecision]:
    """The decisions about a whole range, or the whole target, that are in force or take effect later."""
    within = [one for one in decisions if span is None or (one.bounds[0] <= span[0] and span[1] <= one.bounds[1])]
    coming = [one for one in within if one.effective_at > now and one.lifts is None]
    return [*timelines.in_force(within, now), *coming]


def _restoration(decider: Decider, caller: Caller, lifted: TimelineDecision, span: Span, now: datetime) -> StatusChange:
    return StatusChange(
        id=0,
        scope=decider.scope,
        target=decider.target,
        first=None if span is None else span[0],
        last=None if span is None else span[1],
        action=Action.RESTORE,
        reason=_LIFTED,
        state=State.GOOD,
        lifts=lifted.actor,
        legal_basis="",
        note=NO_NOTE,
        notice="",
        effective_at=max(now, lifted.effective_at),
        actor=actor_of(caller),
        authority=authority_of(caller, decider.name),
        uscc=decider.uscc,
        created_at=now,
    )


def _card_keys(scope: Scope, target: str) -> list[str]:
    """The cards that a decision about this target changes."""
    if scope not in {Scope.BATCH, Scope.RANGE, Scope.CODE}:
        return [standing_key(scope, target)]
    number, _, index = target.partition(":")
    return [batch_key(int(number)), *([item_key(int(number), int(index))] if scope is Scope.CODE else [])]
