"""Decisions about codes: flagged, suspended, recalled, revoked, restored.

A decision is one transaction: rules, the row, the audit entry, the cards a scan reads. After the commit it
is copied to Redis at once (`change_and_project`); where Redis cannot be told, the worker and every scan
process find the newer card in the database by themselves.

Locks are taken in the order batch or target, audit log, card head, here as in `zpcode.services.batches.reserve`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from zpcode.errors import Conflict, Finding, Text, Unavailable
from zpcode.projection.client import AnyRedis
from zpcode.projection.projector import catch_up
from zpcode.rules.access import Caller
from zpcode.rules.status import permissions as rules
from zpcode.rules.status import records, timelines
from zpcode.rules.status.permissions import StatusChange, StatusRequest
from zpcode.services.batches.reserve import card_of
from zpcode.services.notices import cards as notice_cards
from zpcode.services.status import resolve_target
from zpcode.services.status.resolve_target import ResolvedTarget
from zpcode.store import audit, status
from zpcode.store import cards as outbox
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.calendar import seconds
from zpcode.wire.card import BatchCard, Standing, Timeline, batch_key, item_key, standing_key
from zpcode.wire.vocabulary import Scope, State

MAX_PAGE: Final = 200
MAX_CARD_BYTES: Final = 256 * 1024
_LATEST: Final = 2**63 - 1  # stands in for the number the database will give: above all that are there


class Projected(NamedTuple):
    """A recorded decision, and whether Redis has been told of it already."""

    change: StatusChange
    projected: bool


def change(engine: Engine, request: StatusRequest, *, caller: Caller, now: datetime) -> StatusChange:
    """Decide. The latest decision about a target, asked for again word for word, is returned as `repeated`.

    Raises Forbidden (who may do what, a higher level's decision), Refused with every finding, NotFound
    (no such target, or not within reach), Conflict (nothing to restore, too many ranges), Unavailable.
    """
    actor = rules.actor_of(caller)
    rules.permit(request, actor)
    rules.check(request, actor, now)
    with transaction(engine) as connection:
        place = resolve_target.to_decide(connection, request, caller)
        earlier = status.history(connection, place.about.scope, place.about.target)
        now = max([now, *(found.created_at for found in earlier)])  # another process's clock may be ahead of ours
        draft = records.draft(request, place.about, caller, now)
        if (same := records.repeated(earlier, draft, request)) is not None:
            return replace(same, repeated=True)
        draft = records.with_lift(earlier, draft)
        cards = _cards(connection, place, [*earlier, replace(draft, id=_LATEST)], now)
        audit.lock(connection)  # from here on everybody else waits: what takes long is done
        made = status.add(connection, draft, caller.name)
        _audit(connection, made, caller)
        if any(found.notice for found in (*earlier, made)):  # it is one, or may have ended one
            cards |= notice_cards(connection)
        outbox.put_cards(connection, cards)
        return made


def change_and_project(
    engine: Engine, redis: AnyRedis | None, request: StatusRequest, *, caller: Caller, now: datetime
) -> Projected:
    """Decide, commit, then tell Redis. A Redis that does not answer undoes nothing. Raises as `change` does."""
    made = change(engine, request, caller=caller, now=now)
    if redis is None:
        return Projected(made, projected=False)
    try:
        catch_up(engine, redis, fill=False)
    except Unavailable:
        return Projected(made, projected=False)
    return Projected(made, projected=True)


def history(engine: Engine, scope: Scope, target: str, caller: Caller) -> list[StatusChange]:
    """Every decision about one target in the order they were made; at scope range, all ranges of the batch.

    Those about standards and keys are open to every caller. Raises Refused, NotFound, Unavailable.
    """
    with transaction(engine) as connection:
        about = resolve_target.to_read(connection, scope, target, caller)
        return status.history(connection, about.scope, about.target)


def feed(engine: Engine, after: int, limit: int, caller: Caller) -> list[StatusChange]:
    """Up to `limit` (1 … 200) decisions within the caller's reach with numbers above `after`, in commit order."""
    with transaction(engine) as connection:
        return status.feed(connection, caller, after, max(1, min(limit, MAX_PAGE)))


def notices(engine: Engine, after: int, limit: int) -> list[StatusChange]:
    """Public notices: decisions of regulators and the operator that carry a notice number, as `feed`."""
    with transaction(engine) as connection:
        return status.notices(connection, after, max(1, min(limit, MAX_PAGE)))


def _audit(connection: Connection, made: StatusChange, caller: Caller) -> None:
    audit.append(
        connection,
        at=made.created_at,
        actor=caller.name,
        action=f"status.{made.action}",
        object_=f"{made.scope}:{made.target}",
        detail=records.audit_detail(made),
    )


def _cards(connection: Connection, place: ResolvedTarget, made: list[StatusChange], now: datetime) -> dict[str, bytes]:
    decisions = [records.decision(found) for found in made]
    timelines.check_pending(decisions, now)
    encode = msgspec.msgpack.encode
    if place.batch is None:
        told = _never_empty(timelines.timeline(decisions, now), now)
        return {standing_key(place.about.scope, place.about.target): encode(told)}
    key = batch_key(place.batch.number)
    card = card_of(connection, key, BatchCard) or place.batch.card()
    if place.about.scope is Scope.RANGE:
        body = encode(msgspec.structs.replace(card, ranges=timelines.ranges(decisions, now)))
        _check_size(body)
        return {key: body}
    told = timelines.timeline(decisions, now)
    if place.index is None:
        return {key: encode(msgspec.structs.replace(card, timeline=told))}
    return {
        item_key(place.batch.number, place.index): encode(_never_empty(told, now)),
        key: encode(msgspec.structs.replace(card, exceptions=True)),
    }


def _never_empty(told: Timeline, now: datetime) -> Timeline:
    """A card stays once it is written: what is restored says so."""
    return told if told.standings else Timeline((Standing(State.GOOD, seconds(now)),))


def _check_size(body: bytes) -> None:
    if len(body) > MAX_CARD_BYTES:
        text = Text(
            "该批次各号段的说明过长；请缩短公开说明，或改用整批",
            "the ranges of this batch say too much; shorten their public notes, or decide on the batch",
        )
        raise Conflict(text, (Finding("card-too-large", text),))
