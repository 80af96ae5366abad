"""From a status request to its record, and from records to decisions for the timelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from zpcode.rules.access import Caller
from zpcode.rules.status import ranges, timelines
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import NO_NOTE, StatusChange, StatusRequest, actor_of, authority_of, effective
from zpcode.rules.status.reasons import REASONS
from zpcode.rules.status.timelines import TimelineDecision
from zpcode.wire.calendar import seconds
from zpcode.wire.card import Standing
from zpcode.wire.vocabulary import Bilingual, Scope


@dataclass(frozen=True, slots=True)
class DecisionTarget:
    """The target of a decision in the database: `target` as in the card key, the ends of a range as indices.

    `uscc` and `name` are those of the enterprise that the target belongs to; a standard or a key belongs to none.
    """

    scope: Scope
    target: str
    uscc: str | None = None
    name: Bilingual = NO_NOTE
    first: int | None = None
    last: int | None = None


def new_record(request: StatusRequest, about: DecisionTarget, caller: Caller, now: datetime) -> StatusChange:
    """The record of a request that passed `permit` and `check`; `id` is still 0 and `lifts` None."""
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
    """The latest decision about any of the same items, if it equals the new one word for word; else None.

    A request without a time repeats a decision already in effect. A request with a time repeats one with that time.
    """
    overlapping = [change for change in earlier if _overlap(change, new)]
    if not overlapping:
        return None
    last = overlapping[-1]
    same_time = (
        last.effective_at <= new.effective_at if request.effective_at is None else last.effective_at == new.effective_at
    )
    aligned = replace(new, id=last.id, lifts=last.lifts, effective_at=last.effective_at, created_at=last.created_at)
    return last if same_time and aligned == last else None


def _overlap(one: StatusChange, other: StatusChange) -> bool:
    if one.first is None or one.last is None or other.first is None or other.last is None:
        return True
    return one.first <= other.last and other.first <= one.last


def with_lift(earlier: Sequence[StatusChange], new: StatusChange) -> StatusChange:
    """The record; for a restoration, with the actor whose decision it lifts. Raises as `timelines.lifted_by`."""
    if new.action is not Action.RESTORE:
        return new
    decisions = [decision(change) for change in earlier]
    if new.first is None or new.last is None:
        current = timelines.in_force(decisions, new.effective_at)
    else:
        current = ranges.in_force_within(decisions, new.first, new.last, new.effective_at)
    return replace(new, lifts=timelines.lifted_by(new.actor, current))


def decision(change: StatusChange) -> TimelineDecision:
    """The fields of a record that timelines are derived from."""
    moment = seconds(change.effective_at)
    standing = Standing(change.state, moment, change.reason, change.notice, change.note, change.authority)
    return TimelineDecision(
        change.id, change.actor, change.action, standing, change.effective_at, change.lifts, change.first, change.last
    )


def audit_detail(change: StatusChange) -> dict[str, Any]:
    """The whole decision for the audit log, with the date until which it bars a new application."""
    barred = change.barred_until
    return {
        "change": change.id,
        "first": change.first,
        "last": change.last,
        "reason": change.reason,
        "state": change.state.value,
        "lifts": change.lifts and change.lifts.value,
        "legal_basis": change.legal_basis,
        "note": {"zh": change.note.zh, "en": change.note.en},
        "notice": change.notice,
        "effective_at": change.effective_at.isoformat(),
        "authority": {"zh": change.authority.zh, "en": change.authority.en},
        "uscc": change.uscc,
        "barred_until": barred and barred.isoformat(),
    }
