"""Look up a parsed target in the database, within the caller's reach.

A target that does not exist and a target out of reach give the same error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from zpcode.errors import Finding, NotFound, Refused, Text
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch
from zpcode.rules.status.permissions import NO_NOTE, decides_ownerless
from zpcode.rules.status.records import DecisionTarget
from zpcode.rules.status.targets import BatchTarget, ItemName, ItemTarget, ParsedTarget, RangeBound, RecordTarget
from zpcode.store import batches, status
from zpcode.store.database.session import Connection
from zpcode.wire.payload import Identity, Level, Serial
from zpcode.wire.vocabulary import Scope

_OWNERLESS: Final = frozenset({Scope.STANDARD, Scope.KEY})
_INSTEAD: Final = {
    Level.PRODUCT: Text(
        "该批次印的都是同一个品类码，请改用 product 范围",
        "all items of this batch have the same product code; use scope product",
    ),
    Level.LOT: Text(
        "该批次印的都是同一个批次码，请改用 lot 范围", "all items of this batch have the same lot code; use scope lot"
    ),
}


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """The target of a decision in the database; if it is within a batch, also the batch and the item index."""

    about: DecisionTarget
    batch: Batch | None = None
    index: int | None = None


def to_decide(connection: Connection, target: ParsedTarget, caller: Caller) -> ResolvedTarget:
    """Look up and lock the target of a decision until the transaction ends.

    Raises Refused (a batch without item codes, a range outside of the batch), NotFound.
    """
    if isinstance(target, RecordTarget):
        status.lock(connection, target.scope, target.key)
        if target.scope in _OWNERLESS and not decides_ownerless(caller):
            raise _unknown(target)
        return ResolvedTarget(_record(connection, target, caller))
    batch = _batch(connection, target, caller, lock=True)
    resolved = _in_batch(connection, target, batch)
    if (instead := _INSTEAD.get(batch.level)) is not None:
        raise Refused(instead, (Finding("target", instead, "/target", target.text[:80]),))
    if isinstance(target, ItemTarget) or target.bounds is None:
        return resolved
    first, last = _indices(batch, *target.bounds)
    return replace(resolved, about=replace(resolved.about, first=first, last=last))


def to_read(connection: Connection, target: ParsedTarget, caller: Caller) -> DecisionTarget:
    """Look up a target for reading. Raises NotFound."""
    if isinstance(target, RecordTarget):
        return _record(connection, target, caller)
    return _in_batch(connection, target, _batch(connection, target, caller, lock=False)).about


def _record(connection: Connection, target: RecordTarget, caller: Caller) -> DecisionTarget:
    if target.scope in _OWNERLESS:
        if not caller.reaches(None, None) or not status.target_exists(connection, target.scope, target.key):
            raise _unknown(target)
        return DecisionTarget(target.scope, target.key)
    owner = status.owner(connection, target.scope, target.key)
    if owner is None or not caller.reaches(owner.uscc, owner.region):
        raise _unknown(target)
    return DecisionTarget(target.scope, target.key, owner.uscc, owner.name)


def _batch(connection: Connection, target: BatchTarget | ItemTarget, caller: Caller, *, lock: bool) -> Batch:
    number = target.item.batch if isinstance(target, ItemTarget) else target.number
    batch = batches.get(connection, number, lock=lock)
    if batch is None or not caller.reaches(batch.uscc, batch.region):
        raise _unknown(target)
    return batch


def _in_batch(connection: Connection, target: BatchTarget | ItemTarget, batch: Batch) -> ResolvedTarget:
    owner = status.owner(connection, Scope.ENTERPRISE, batch.uscc)
    about = DecisionTarget(target.scope, str(batch.number), batch.uscc, NO_NOTE if owner is None else owner.name)
    if isinstance(target, BatchTarget) or not batch.level.is_item:
        return ResolvedTarget(about, batch)
    index = _index(batch, target.item)
    if index is None:
        raise _unknown(target)
    return ResolvedTarget(replace(about, target=f"{batch.number}:{index}"), batch, index)


def _index(batch: Batch, item: ItemName) -> int | None:
    """The index of an item in its batch; None if the batch has no such item."""
    if item.batch != batch.number or item.gtin not in {None, batch.gtin}:
        return None
    if item.slot is not None:
        return batch.index_of(Identity(batch.gtin, serial=Serial(batch.number, item.slot), check=item.check))
    return item.index if item.index is not None and 0 <= item.index < batch.quantity else None


def _indices(batch: Batch, first: RangeBound, last: RangeBound) -> tuple[int, int]:
    """The first and last index of a range. Raises Refused if an end is outside of the batch, or the order is wrong."""
    low, high = _bound_index(batch, "/first", first), _bound_index(batch, "/last", last)
    if high < low:
        raise _range_refused("/last", last, "号段的末尾小于开头", "the range ends before it begins")
    return low, high


def _bound_index(batch: Batch, where: str, bound: RangeBound) -> int:
    index = _index(batch, bound.item)
    if index is None:
        raise _range_refused(
            where,
            bound,
            f"不属于批次 {batch.number}（共 {batch.quantity} 件，从 0 起）",
            f"not an item of batch {batch.number}: it has {batch.quantity}, counted from 0",
        )
    return index


def _range_refused(where: str, bound: RangeBound, zh: str, en: str) -> Refused:
    text = Text(zh, en)
    return Refused(text, (Finding("range", text, where, bound.text[:80]),))


def _unknown(target: ParsedTarget) -> NotFound:
    text = target.text[:80]
    return NotFound(Text(f"没有这个对象：{text}", f"there is no such target: {text}"))
