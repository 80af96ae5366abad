"""Decisions about codes: flag, suspend, recall, revoke, restore.

A decision is one transaction: rules, the row, the audit entry, the cards a scan reads. After the commit the cards are
copied to Redis at once (`change_and_project`). Where Redis does not answer, the worker copies them later, and scan
processes find the newer card in the database.

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
from zpcode.rules.cards import new_batch_card, standing, with_decisions
from zpcode.rules.paging import page_size
from zpcode.rules.status import permissions as rules
from zpcode.rules.status import records, timelines
from zpcode.rules.status.permissions import StatusChange, StatusRequest
from zpcode.rules.status.targets import parse_target
from zpcode.services.cards import stored_card
from zpcode.services.notices import encoded_card
from zpcode.services.status import resolve_target
from zpcode.services.status.resolve_target import ResolvedTarget
from zpcode.store import audit, cards, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import BatchCard, Timeline, batch_key, item_key, standing_key
from zpcode.wire.vocabulary import Scope

MAX_CARD_BYTES: Final = 256 * 1024
_LATEST: Final = 2**63 - 1  # stands in for the number the database will give: above all that are there


class Projected(NamedTuple):
    """A recorded decision, and whether Redis has its cards already."""

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
    target = parse_target(request.scope, request.target, request.first, request.last)
    with transaction(engine) as connection:
        resolved = resolve_target.to_decide(connection, target, caller)
        earlier = status.history(connection, resolved.about.scope, resolved.about.target)
        now = max([now, *(one.created_at for one in earlier)])  # another process's clock may be ahead of ours
        draft = records.draft(request, resolved.about, caller, now)
        if (same := records.repeated(earlier, draft, request)) is not None:
            return replace(same, repeated=True)
        draft = records.with_lift(earlier, draft)
        made = [*earlier, replace(draft, id=_LATEST)]
        timelines.check_pending([records.decision(one) for one in made], now)
        written = _cards(connection, resolved, made)
        audit.lock(connection)  # from here on everybody else waits: what takes long is done
        decided = status.add(connection, draft, caller.name)
        _audit(connection, decided, caller)
        if any(one.notice for one in made):  # the decision is a notice, or may have ended one
            written |= encoded_card(connection)
        cards.put_cards(connection, written)
        return decided


def change_and_project(
    engine: Engine, redis: AnyRedis | None, request: StatusRequest, *, caller: Caller, now: datetime
) -> Projected:
    """Decide, commit, then copy the cards to Redis. Raises as `change` does.

    A Redis that does not answer undoes nothing.
    """
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
    parsed = parse_target(scope, target)
    with transaction(engine) as connection:
        about = resolve_target.to_read(connection, parsed, caller)
        return status.history(connection, about.scope, about.target)


def feed(engine: Engine, after: int, limit: int, caller: Caller) -> list[StatusChange]:
    """Up to `limit` (1 … 200) decisions within the caller's reach with numbers above `after`, in commit order."""
    with transaction(engine) as connection:
        return status.feed(connection, caller, after, page_size(limit))


def notices(engine: Engine, after: int, limit: int) -> list[StatusChange]:
    """Public notices: decisions of regulators and the operator that carry a notice number, as `feed`."""
    with transaction(engine) as connection:
        return status.notices(connection, after, page_size(limit))


def _audit(connection: Connection, made: StatusChange, caller: Caller) -> None:
    audit.append(
        connection,
        at=made.created_at,
        actor=caller.name,
        action=f"status.{made.action}",
        object_=f"{made.scope}:{made.target}",
        detail=records.audit_detail(made),
    )


def _cards(connection: Connection, resolved: ResolvedTarget, made: list[StatusChange]) -> dict[str, bytes]:
    """The cards that all decisions about a target give, the new one being the last of `made`."""
    batch, scope = resolved.batch, resolved.about.scope
    if batch is None:
        return {standing_key(scope, resolved.about.target): _encoded(standing(made))}
    key = batch_key(batch.number)
    card = stored_card(connection, key, BatchCard) or new_batch_card(batch)
    body = _encoded(with_decisions(card, scope, made))
    if scope is Scope.RANGE:
        _check_size(body)
    if resolved.index is None:
        return {key: body}
    return {item_key(batch.number, resolved.index): _encoded(standing(made)), key: body}


def _encoded(card: BatchCard | Timeline) -> bytes:
    return msgspec.msgpack.encode(card)


def _check_size(body: bytes) -> None:
    if len(body) > MAX_CARD_BYTES:
        text = Text(
            "该批次各号段的说明过长；请缩短公开说明，或改用整批",
            "the ranges of this batch say too much; shorten their public notes, or decide on the batch",
        )
        raise Conflict(text, (Finding("card-too-large", text),))
