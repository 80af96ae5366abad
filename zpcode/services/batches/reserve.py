"""Reserves, reads and activates batches of codes. `zpcode.services.batches.issue` writes their files."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import msgspec

from zpcode.errors import Conflict, Finding, NotFound, Refused, Text
from zpcode.exports.formats import EXPORTS
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState, record_digest, record_name
from zpcode.rules.batches.issuing import Facts, may_ask, may_issue
from zpcode.rules.cards import batch_card, with_row
from zpcode.rules.paging import page_size
from zpcode.rules.record_digest import RECORDS
from zpcode.services.cards import events_of_batches, lot_cards, stored_card
from zpcode.store import audit, batches, cards, recovery, status
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.wire.card import (
    BatchCard,
    LotCard,
    ProductCard,
    Timeline,
    batch_key,
    lot_key,
    product_key,
    standing_key,
)
from zpcode.wire.gs1 import is_lot
from zpcode.wire.link import is_base
from zpcode.wire.payload import Level
from zpcode.wire.permutation import KEY_BYTES
from zpcode.wire.vocabulary import Scope

_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,200}", re.ASCII)


def reserve(
    engine: Engine,
    request: BatchRequest,
    *,
    caller: Caller,
    idempotency_key: str,
    base: str,
    now: datetime,
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> Batch:
    """Reserve a batch: its number and its secret keys are committed before anything is signed.

    `base` is the scheme and host printed before each code, `now` is aware, `randomness` gives as many random bytes as it
    is asked for. The same idempotency key with the same request always gives the same batch, also for requests at the
    same time. Raises Refused with every reason, Forbidden, Conflict if the key belongs to another request, Unavailable.
    """
    may_ask(caller)
    _check_key(idempotency_key)
    _check_base(base)
    owner = f"{caller.role}:{caller.subject}"
    with transaction(engine) as connection:
        earlier = batches.claim(connection, owner, idempotency_key, request.digest, now)
        if earlier is not None:
            return _again(connection, earlier, request)
        batch = _reserved(connection, request, caller, base, now, randomness)
        # Lock the lot: an event of this lot commits before (this card includes it) or after (its transaction updates this
        # card).
        if batch.lot:
            status.lock(connection, Scope.LOT, f"{batch.gtin}:{batch.lot}")
        batches.add(connection, batch)
        batches.bind(connection, owner, idempotency_key, batch.number)
        audit_reserved(connection, batch, caller)
        events = events_of_batches(connection, [batch])[batch.number]
        _put(connection, batch, batch_card(batch, (), exceptions=False, events=events))
        return batch


def get(engine: Engine, number: int, caller: Caller) -> Batch:
    """One batch. Raises NotFound if it does not exist or is not within the caller's reach; it says so if its record was lost."""
    with transaction(engine) as connection:
        batch = batches.get(connection, number)
        if batch is None and caller.role is Role.OPERATOR and recovery.lost_batches(connection, [number]):
            raise NotFound(
                Text(
                    f"批次 {number} 的记录已在恢复数据库时丢失：序号不再使用，扫码显示“暂时无法确认”；见 docs/recovery.md",
                    f"the record of batch {number} was lost when the database was restored: its number is not given again, and its"
                    " codes say that they cannot be confirmed; see docs/recovery.md",
                )
            )
        return _within_reach(batch, number, caller)


def listing(engine: Engine, caller: Caller, after: int | None = None, limit: int = 50) -> list[Batch]:
    """The batches within the caller's reach, newest first: up to `limit` (1 … 200) that follow number `after`."""
    with transaction(engine) as connection:
        return batches.listing(connection, caller, after, page_size(limit))


def anything_reserved(engine: Engine) -> bool:
    """Whether there is any batch. Raises Unavailable."""
    with transaction(engine) as connection:
        return batches.any_batch(connection)


def activate(engine: Engine, number: int, caller: Caller, now: datetime) -> Batch:
    """Activate a batch: from now on its codes are valid. An active batch is returned unchanged.

    Raises NotFound, Forbidden (a regulator), Conflict if the batch is not issued yet.
    """
    may_ask(caller)
    with transaction(engine) as connection:
        batch = _within_reach(batches.get(connection, number, lock=True), number, caller)
        if batch.activated_at is not None:
            return batch
        if batch.state is not BatchState.ISSUED:
            text = Text(
                f"批次 {number} 尚未生成完毕，不能激活", f"batch {number} is not issued yet and cannot be activated"
            )
            raise Conflict(text, (Finding("not_issued", text),))
        audit.append(
            connection, at=now, actor=caller.name, action="batch.activate", object_=f"batch:{number}", detail={}
        )
        batches.change(connection, number, activated_at=now)
        active = replace(batch, activated_at=now)
        put_batch_cards(connection, active)
        return active


def put_batch_cards(connection: Connection, batch: Batch) -> None:
    """Write the card of a batch whose row has changed, and at lot level the card of its lot.

    Before this, the caller must lock the row if it existed, write it, and append to the audit log in this transaction:
    the log's lock makes the writers of one card take turns.
    """
    card = with_row(stored_card(connection, batch_key(batch.number), BatchCard), batch)
    _put(connection, batch, card)


def _put(connection: Connection, batch: Batch, card: BatchCard) -> None:
    lots = [(batch.gtin, batch.lot)] if batch.level is Level.LOT else []
    written: dict[str, BatchCard | LotCard] = {batch_key(batch.number): card, **lot_cards(connection, lots)}
    cards.put_cards(connection, {key: msgspec.msgpack.encode(one) for key, one in written.items()})


def _reserved(
    connection: Connection,
    request: BatchRequest,
    caller: Caller,
    base: str,
    now: datetime,
    randomness: Callable[[int], bytes],
) -> Batch:
    """A new batch for the request. Raises Refused with every reason against it."""
    facts, region = _facts(connection, request, caller)
    formats = {name: export.max_codes for name, export in EXPORTS.items()}
    may_issue(request, facts, formats, now)
    return Batch(
        number=batches.next_number(connection),
        uscc="" if facts.product is None else facts.product.enterprise.uscc,
        region=region,
        gtin=request.gtin,
        level=request.level,
        quantity=request.quantity,
        lot=request.lot,
        production_date=request.production_date,
        expiry_date=request.expiry_date,
        format=request.format,
        base=base,
        activation=request.activation,
        created_by=caller.name,
        created_at=now,
        permutation_key=randomness(KEY_BYTES),
        check_key=randomness(KEY_BYTES) if request.level is Level.COMPACT else b"",
    )


def _facts(connection: Connection, request: BatchRequest, caller: Caller) -> tuple[Facts, str]:
    """The facts that the rules need, and the enterprise's region."""
    if not request.gtin.isascii() or not request.gtin.isalnum():
        return Facts(None), ""
    product = stored_card(connection, product_key(request.gtin), ProductCard)
    known = product is not None and status.owner(connection, Scope.PRODUCT, request.gtin) is not None
    if product is None or not known or not caller.reaches(product.enterprise.uscc, product.enterprise.region):
        return Facts(None), ""
    region, quota, used = batches.quota(connection, product.enterprise.uscc)
    reaching = [*product.standing_keys()]
    lot = None
    if is_lot(request.lot):
        reaching.append((Scope.LOT, f"{request.gtin}:{request.lot}"))
        lot = stored_card(connection, lot_key(request.gtin, request.lot), LotCard)
    return Facts(product, _timelines(connection, reaching), quota, used, lot), region


def _timelines(connection: Connection, reaching: list[tuple[Scope, str]]) -> tuple[tuple[Scope, str, Timeline], ...]:
    bodies = {card.key: card.body for card in cards.fetch(connection, [standing_key(*where) for where in reaching])}
    decode = msgspec.msgpack.Decoder(Timeline).decode
    return tuple(
        (scope, target, decode(bodies[standing_key(scope, target)]))
        for scope, target in reaching
        if standing_key(scope, target) in bodies
    )


def _again(connection: Connection, earlier: batches.IdempotencyRecord, request: BatchRequest) -> Batch:
    if earlier.digest != request.digest:
        text = Text(
            f"该幂等键已用于批次 {earlier.batch}，但那次请求的内容不同；请换一个键",
            f"this idempotency key was used for batch {earlier.batch} with a different request; use a new key",
        )
        raise Conflict(text, (Finding("idempotency_key_reused", text),))
    batch = batches.get(connection, earlier.batch)
    if batch is None:
        raise _missing(earlier.batch)
    return batch


def audit_reserved(connection: Connection, batch: Batch, caller: Caller) -> None:
    """Add the audit entry of a reservation."""
    detail = {
        "gtin": batch.gtin,
        "uscc": batch.uscc,
        "level": batch.level.value,
        "quantity": batch.quantity,
        "lot": batch.lot,
        "production_date": batch.production_date and batch.production_date.isoformat(),
        "expiry_date": batch.expiry_date and batch.expiry_date.isoformat(),
        "activation": batch.activation.value,
        "base": batch.base,
        RECORDS: {record_name(batch.number): record_digest(batch)},
    }
    audit.append(
        connection,
        at=batch.created_at,
        actor=caller.name,
        action="batch.reserve",
        object_=f"batch:{batch.number}",
        detail=detail,
    )


def _within_reach(batch: Batch | None, number: int, caller: Caller) -> Batch:
    if batch is None or not caller.reaches(batch.uscc, batch.region):
        raise _missing(number)
    return batch


def _missing(number: int) -> NotFound:
    return NotFound(Text(f"没有批次 {number}", f"there is no batch {number}"))


def _check_key(key: str) -> None:
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        text = Text(
            "幂等键（Idempotency-Key）须为 1 至 200 个可见的 ASCII 字符",
            "an idempotency key must be 1 to 200 visible ASCII characters",
        )
        raise Refused(text, (Finding("idempotency_key", text, "Idempotency-Key"),))


def _check_base(base: str) -> None:
    if not is_base(base):
        text = Text(
            f"码的网址前缀 {base[:80]!r} 须为小写的协议和主机名，不带路径",
            f"the base address {base[:80]!r} must be scheme and host in lower case, without a path",
        )
        raise Refused(text, (Finding("base", text),))
