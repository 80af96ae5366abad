"""From a status request to its record, and from records to decisions for the timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from zpcode.rules.access import Caller
from zpcode.rules.status import timelines
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, StatusRequest, actor_of, authority_of, effective
from zpcode.rules.status.reasons import REASONS
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.calendar import seconds
from zpcode.wire.card import Standing
from zpcode.wire.vocabulary import Bilingual, Scope


@dataclass(frozen=True, slots=True)
class DecisionTarget:
    """What a decision is about, as the database names it: `target` as in the card key, a range's bounds as indices.

    `uscc` and `name` are those of the enterprise the target belongs to; a standard or a key belongs to none.
    """

    scope: Scope
    target: str
    uscc: str | None = None
    name: Bilingual = NO_NOTE
    first: int | None = None
    last: int | None = None


def draft(request: StatusRequest, about: DecisionTarget, caller: Caller, now: datetime) -> StatusChange:
    """A request that passed `permit` and `check`, as a record without its number and without what it lifts."""
    return StatusChange(
        id=0,
        scope=about.scope,
        target=about.target,
        first=about.first,
        last=about.last,
        action=request.action,
        reason=request.reason,
        state=REASONS[request.reason].state(request.action),
        lifts=None,
        legal_basis=request.legal_basis.strip(),
        note=Bilingual(request.note.zh.strip(), request.note.en.strip()),
        notice=request.notice.strip(),
        effective_at=effective(request, now),
        actor=actor_of(caller),
        authority=authority_of(caller, about.name),
        uscc=about.uscc,
        created_at=now,
    )


def repeated(earlier: Sequence[StatusChange], new: StatusChange, request: StatusRequest) -> StatusChange | None:
    """The latest decision about any of the new one's items, where both say the same word for word; else None.

    A request without a time repeats a decision already in effect. A request with a time repeats one with that time.
    """
    met = [change for change in earlier if _meets(change, new)]
    if not met:
        return None
    last = met[-1]
    same_time = (
        last.effective_at <= new.effective_at if request.effective_at is None else last.effective_at == new.effective_at
    )
    likened = replace(new, id=last.id, lifts=last.lifts, effective_at=last.effective_at, created_at=last.created_at)
    return last if same_time and likened == last else None


def _meets(one: StatusChange, other: StatusChange) -> bool:
    if one.first is None or one.last is None or other.first is None or other.last is None:
        return True
    return one.first <= other.last and other.first <= one.last


def with_lift(earlier: Sequence[StatusChange], new: StatusChange) -> StatusChange:
    """The record; a restoration with the actor whose decision it lifts. Raises as `timelines.lifted_by`."""
    if new.action is not Action.RESTORE:
        return new
    decisions = [decision(change) for change in earlier]
    if new.first is None or new.last is None:
        current = timelines.in_force(decisions, new.effective_at)
    else:
        current = timelines.in_force_within(decisions, new.first, new.last, new.effective_at)
    return replace(new, lifts=timelines.lifted_by(new.actor, current))


def decision(made: StatusChange) -> TimelineDecision:
    """A record as the timelines read it."""
    moment = seconds(made.effective_at)
    standing = Standing(made.state, moment, made.reason, made.notice, made.note, made.authority)
    return TimelineDecision(
        made.id, made.actor, made.action, standing, made.effective_at, made.lifts, made.first, made.last
    )


def audit_detail(made: StatusChange) -> dict[str, Any]:
    """The whole decision as the audit log keeps it, with the bar date it entails."""
    barred = made.barred_until
    return {
        "change": made.id,
        "first": made.first,
        "last": made.last,
        "reason": made.reason,
        "state": made.state.value,
        "lifts": made.lifts and made.lifts.value,
        "legal_basis": made.legal_basis,
        "note": {"zh": made.note.zh, "en": made.note.en},
        "notice": made.notice,
        "effective_at": made.effective_at.isoformat(),
        "authority": {"zh": made.authority.zh, "en": made.authority.en},
        "uscc": made.uscc,
        "barred_until": barred and barred.isoformat(),
    }
