"""From a target as a person wrote it to what it names in the registry, within the caller's reach.

What does not exist and what is another's are answered in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from zpcode.errors import Finding, NotFound, Refused, Text
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch
from zpcode.rules.status import targets
from zpcode.rules.status.permissions import NO_NOTE, StatusRequest, reaches_ownerless
from zpcode.rules.status.records import DecisionTarget
from zpcode.store import batches, status
from zpcode.store.database.session import Connection
from zpcode.wire.payload import Identity, Level, Serial, check_matches
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import Scope

_OWNERLESS: Final = frozenset({Scope.STANDARD, Scope.KEY})
_OF_BATCH: Final = frozenset({Scope.CODE, Scope.RANGE, Scope.BATCH})
_INSTEAD: Final = {
    Level.PRODUCT: Text(
        "该批次印的都是同一个品类码，请改用 product 范围",
        "all pieces of this batch carry the product code; use scope product",
    ),
    Level.LOT: Text(
        "该批次印的都是同一个批次码，请改用 lot 范围", "all pieces of this batch carry the lot code; use scope lot"
    ),
}


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """What a decision is about, and the batch and item index its cards belong to, where it is within a batch."""

    about: DecisionTarget
    batch: Batch | None = None
    index: int | None = None


def to_decide(connection: Connection, request: StatusRequest, caller: Caller) -> ResolvedTarget:
    """The place of a decision; nobody else decides about it until the transaction ends.

    Raises Refused (unreadable, or a batch without item codes), NotFound.
    """
    if request.scope not in _OF_BATCH:
        return ResolvedTarget(_registered(connection, request.scope, request.target, caller, lock=True))
    place = _in_batch(connection, request.scope, request.target, caller, lock=True)
    batch = place.batch
    if batch is not None and (instead := _INSTEAD.get(batch.level)) is not None:
        raise Refused(instead, (Finding("target", instead, "/target", request.target.strip()[:80]),))
    return _bounded(place, request)


def to_read(connection: Connection, scope: Scope, text: str, caller: Caller) -> DecisionTarget:
    """What a target names. Standards and keys are open to every caller. Raises Refused, NotFound."""
    if scope in _OF_BATCH:
        return _in_batch(connection, scope, text, caller, lock=False).about
    return _registered(connection, scope, text, caller, lock=False)


def _registered(connection: Connection, scope: Scope, text: str, caller: Caller, *, lock: bool) -> DecisionTarget:
    target = targets.read(scope, text)
    if lock:
        status.lock(connection, scope, target)
    if scope in _OWNERLESS:
        if not status.known(connection, scope, target) or (lock and not reaches_ownerless(caller)):
            raise _unknown(text)
        return DecisionTarget(scope, target)
    owner = status.owner(connection, scope, target)
    if owner is None or not caller.reaches(owner.uscc, owner.region):
        raise _unknown(text)
    return DecisionTarget(scope, target, owner.uscc, owner.name)


def _in_batch(connection: Connection, scope: Scope, text: str, caller: Caller, *, lock: bool) -> ResolvedTarget:
    item = targets.item(text) if scope is Scope.CODE else None
    number = targets.batch_number(text.strip()) if item is None else item.batch
    batch = batches.get(connection, number, lock=lock)
    if batch is None or not caller.reaches(batch.uscc, batch.region):
        raise _unknown(text)
    owner = status.owner(connection, Scope.ENTERPRISE, batch.uscc)
    about = DecisionTarget(scope, str(number), batch.uscc, NO_NOTE if owner is None else owner.name)
    if item is None or not batch.level.is_item:
        return ResolvedTarget(about, batch)
    index = _index(batch, item)
    if index is None:
        raise _unknown(text)
    return ResolvedTarget(replace(about, target=f"{number}:{index}"), batch, index)


def _index(batch: Batch, item: targets.Item) -> int | None:
    """An item's index in its batch, or None where the batch has no such item."""
    if item.batch != batch.number or item.gtin not in {None, batch.gtin}:
        return None
    if item.slot is None:
        index = -1 if item.index is None else item.index
    else:
        identity = Identity(batch.gtin, serial=Serial(batch.number, item.slot), check=item.check)
        if item.check is not None and not (batch.level is Level.COMPACT and check_matches(batch.check_key, identity)):
            return None
        index = Permutation(batch.permutation_key).index(item.slot)
    return index if 0 <= index < batch.quantity else None


def _bounded(place: ResolvedTarget, request: StatusRequest) -> ResolvedTarget:
    """The place with its range's bounds as indices."""
    if place.batch is None or request.first is None or request.last is None:
        return place
    first = _bound(place.batch, "/first", request.first)
    last = _bound(place.batch, "/last", request.last)
    if last < first:
        raise _range_refused("/last", request.last, "号段的末尾在开头之前", "the range ends before it begins")
    return replace(place, about=replace(place.about, first=first, last=last))


def _bound(batch: Batch, where: str, value: int | str) -> int:
    found = targets.bound(value)
    index = _index(batch, targets.Item(batch.number, index=found) if isinstance(found, int) else found)
    if index is None:
        raise _range_refused(
            where,
            value,
            f"不属于批次 {batch.number}（共 {batch.quantity} 件，从 0 起）",
            f"not an item of batch {batch.number}: it has {batch.quantity}, counted from 0",
        )
    return index


def _range_refused(where: str, value: object, zh: str, en: str) -> Refused:
    text = Text(zh, en)
    return Refused(text, (Finding("range", text, where, str(value)[:80]),))


def _unknown(text: str) -> NotFound:
    shown = text.strip()[:80]
    return NotFound(Text(f"没有这个对象：{shown}", f"there is no such target: {shown}"))
