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

from zpcode.errors import Unavailable
from zpcode.projection.client import AnyRedis
from zpcode.projection.projector import catch_up
from zpcode.rules.access import Caller
from zpcode.rules.cards import new_batch_card, standing, with_decisions
from zpcode.rules.paging import page_size
from zpcode.rules.status import permissions as rules
from zpcode.rules.status import records, shares
from zpcode.rules.status.permissions import StatusChange, StatusRequest
from zpcode.rules.status.targets import parse_target
from zpcode.services.cards import stored_card
from zpcode.services.notices import encoded_card
from zpcode.services.status import resolve_target
from zpcode.services.status.log_entry import enter_in_log
from zpcode.services.status.resolve_target import ResolvedTarget
from zpcode.store import audit, cards, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import BatchCard, Timeline, batch_key, item_key, standing_key
from zpcode.wire.vocabulary import Scope

_LATEST: Final = 2**63 - 1  # placeholder for the number that the database will assign; above all others


class ChangeResult(NamedTuple):
    """A recorded decision, and whether its cards are already in Redis."""

    change: StatusChange
    projected: bool


def change(engine: Engine, request: StatusRequest, *, caller: Caller, now: datetime) -> StatusChange:
    """Record a decision. A request that repeats the latest decision word for word returns that one, as `repeated`.

    Raises Forbidden (not permitted, or a higher level's decision), Refused with every finding, NotFound (no such target,
    or not within reach), Conflict (nothing to restore, the actor's share used up), Unavailable.
    """
    actor = rules.actor_of(caller)
    rules.permit(request, actor)
    rules.check(request, actor, now)
    target = parse_target(request.scope, request.target, request.first, request.last)
    with transaction(engine) as connection:
        resolved = resolve_target.to_decide(connection, target, caller)
        earlier = status.history(connection, resolved.about.scope, resolved.about.target)
        now = max([now, *(one.created_at for one in earlier)])  # the clock of another process may be ahead
        new = records.new_record(request, resolved.about, caller, now)
        if (same := records.repeated(earlier, new, request)) is not None:
            return replace(same, repeated=True)
        new = records.with_lift(earlier, new)
        decisions = [*earlier, replace(new, id=_LATEST)]
        shares.check([records.decision(one) for one in decisions], actor, now)
        written = _cards(connection, resolved, decisions)
        audit.lock(connection)  # other writers wait from here on, so everything slow is done before
        decided = status.add(connection, new, caller.name)
        enter_in_log(connection, decided, caller)
        if any(one.notice for one in decisions):  # the new decision is a notice, or may end one
            written |= encoded_card(connection)
        cards.put_cards(connection, written)
        return decided


def change_and_project(
    engine: Engine, redis: AnyRedis | None, request: StatusRequest, *, caller: Caller, now: datetime
) -> ChangeResult:
    """Record and commit a decision, then copy its cards to Redis. Raises as `change`.

    If Redis does not answer, the decision is still recorded, and the worker copies the cards later.
    """
    decided = change(engine, request, caller=caller, now=now)
    if redis is None:
        return ChangeResult(decided, projected=False)
    try:
        catch_up(engine, redis, fill=False)
    except Unavailable:
        return ChangeResult(decided, projected=False)
    return ChangeResult(decided, projected=True)


def history(engine: Engine, scope: Scope, target: str, caller: Caller) -> list[StatusChange]:
    """All decisions about one target in the order they were made; at scope range, about all ranges of the batch.

    Every caller may read decisions about standards and keys. Raises Refused, NotFound, Unavailable.
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
    """Published decisions (of regulators and the operator, with a notice number), paged as in `feed`."""
    with transaction(engine) as connection:
        return status.notices(connection, after, page_size(limit))


def _cards(connection: Connection, resolved: ResolvedTarget, decisions: list[StatusChange]) -> dict[str, bytes]:
    """The cards that result from all decisions about a target."""
    batch, scope = resolved.batch, resolved.about.scope
    if batch is None:
        return {standing_key(scope, resolved.about.target): _encoded(standing(decisions))}
    key = batch_key(batch.number)
    card = stored_card(connection, key, BatchCard) or new_batch_card(batch)
    body = _encoded(with_decisions(card, scope, decisions))
    if resolved.index is None:
        return {key: body}
    return {item_key(batch.number, resolved.index): _encoded(standing(decisions)), key: body}


def _encoded(card: BatchCard | Timeline) -> bytes:
    return msgspec.msgpack.encode(card)
