"""Reserving: one batch for one idempotency key, no code over the quota, a reason for each refusal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, func, select

from tests.support import issuing_setting as setting
from tests.support.issuing_setting import BASE, GTIN, MAKER, NOW, OPERATOR, OTHER
from zpcode.errors import Conflict, Forbidden, Refused, ZpError
from zpcode.rules.access import Caller, Role
from zpcode.rules.audit import check_chain
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState
from zpcode.services.batches import reserve
from zpcode.store import audit, cards
from zpcode.store.database.session import connect, transaction
from zpcode.store.tables.codes import batch, idempotency
from zpcode.wire.card import BatchCard, batch_key
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope, State


def _reserve(engine: Engine, request: BatchRequest, key: str, caller: Caller = MAKER) -> Batch:
    return reserve.reserve(engine, request, caller=caller, idempotency_key=key, base=BASE, now=NOW)


def _count(engine: Engine, table: Any = batch) -> int:
    with transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _at_once(count: int, call: Callable[[int], Batch]) -> list[Batch | ZpError]:
    """The results of this many threads that start together."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Batch | ZpError:
        barrier.wait()
        try:
            return call(number)
        except ZpError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_what_is_reserved_is_committed_with_card_and_audit_entry(engine: Engine) -> None:
    """A number, new secret keys, the state reserved, an inactive card, one audit entry."""
    setting.register(engine, setting.product_card())
    made = _reserve(engine, setting.request(lot="L1"), "k1")
    other = _reserve(engine, setting.request(lot="L1"), "k2")
    assert made.state is BatchState.RESERVED
    assert made == reserve.get(engine, made.number, MAKER)
    assert other.number != made.number
    assert made.permutation_key != other.permutation_key
    assert (made.check_key, other.check_key) == (b"", b"")
    with transaction(engine) as connection:
        body = cards.fetch(connection, [batch_key(made.number)])[0].body
        entries = list(audit.entries(connection))
    card = msgspec.msgpack.decode(body, type=BatchCard)
    assert (card.gtin, card.quantity, card.lot, card.activated_at) == (GTIN, 100, "L1", 0)
    assert card.permutation_key == made.permutation_key
    assert [entry.object for entry, *_ in entries] == [f"batch:{made.number}", f"batch:{other.number}"]
    assert made.permutation_key.hex() not in str(entries)
    assert check_chain(entries).broken is None


def test_only_a_compact_batch_has_a_check_key(engine: Engine) -> None:
    """So nothing on the card of another batch would make a compact code."""
    setting.register(engine, setting.product_card())
    requests = [
        setting.request(level=level, lot="" if level is Level.PRODUCT else "L1", quantity=100 if level.is_item else 1)
        for level in Level
    ]
    made = [_reserve(engine, request, f"of-{request.level}") for request in requests]
    assert {batch.level for batch in made if batch.check_key} == {Level.COMPACT}
    assert {len(batch.permutation_key) for batch in made} == {16}
    with transaction(engine) as connection:
        bodies = [cards.fetch(connection, [batch_key(batch.number)])[0].body for batch in made]
    assert [msgspec.msgpack.decode(body, type=BatchCard).check_key for body in bodies] == [
        batch.check_key for batch in made
    ]


def test_the_same_key_gives_the_same_batch(engine: Engine) -> None:
    """Any number of times; the same key of another caller is another key."""
    setting.register(engine, setting.product_card())
    first = _reserve(engine, setting.request(), "again")
    assert _reserve(engine, setting.request(), "again") == first
    assert _reserve(engine, setting.request(), "again", OPERATOR).number != first.number
    assert _count(engine) == 2


def test_a_key_used_for_another_request_is_a_conflict(engine: Engine) -> None:
    """A caller never gets a batch of another request."""
    setting.register(engine, setting.product_card())
    _reserve(engine, setting.request(), "key")
    with pytest.raises(Conflict) as refusal:
        _reserve(engine, setting.request(quantity=101), "key")
    assert refusal.value.findings[0].reason == "idempotency_key_reused"
    assert _count(engine) == 1


def test_a_refused_request_does_not_use_up_its_key(engine: Engine) -> None:
    """The corrected request is accepted under the same key; the refusal stored nothing."""
    setting.register(engine, setting.product_card())
    with pytest.raises(Refused):
        _reserve(engine, setting.request(quantity=0), "key")
    assert (_count(engine), _count(engine, idempotency)) == (0, 0)
    assert _reserve(engine, setting.request(), "key").quantity == 100


@pytest.mark.parametrize("key", ["", "x" * 201, "with blank", "tab\t", "umlaut-ü", "zero\0", "line\n"])
def test_a_key_is_1_to_200_visible_ascii_characters(engine: Engine, key: str) -> None:
    """Anything else is refused, not shortened."""
    with pytest.raises(Refused) as refusal:
        _reserve(engine, setting.request(), key)
    assert refusal.value.reasons == ("idempotency_key",)


def test_sixteen_at_once_with_one_key_make_one_batch(engine: Engine, addresses: Any) -> None:
    """They wait for each other and get the same batch."""
    setting.register(engine, setting.product_card())
    wide = connect(addresses.database, pool_size=16)
    answers = _at_once(16, lambda _: _reserve(wide, setting.request(), "one-key"))
    wide.dispose()
    assert [answer for answer in answers if isinstance(answer, ZpError)] == []
    assert len({answer.number for answer in answers if isinstance(answer, Batch)}) == 1
    assert _count(engine) == 1


def test_no_code_is_given_out_over_the_quota_by_requests_at_once(engine: Engine, addresses: Any) -> None:
    """Eight ask for 100 of 350: three get them."""
    setting.register(engine, setting.product_card(), quota=350)
    wide = connect(addresses.database, pool_size=16)
    answers = _at_once(8, lambda number: _reserve(wide, setting.request(), f"key-{number}"))
    wide.dispose()
    refusals = [answer for answer in answers if isinstance(answer, Refused)]
    assert len(refusals) == 5
    assert {refusal.reasons for refusal in refusals} == {("quota",)}
    assert _count(engine) == 3


def test_another_enterprises_gtin_is_refused_like_an_unknown_one(engine: Engine) -> None:
    """With the same text; the operator can order it."""
    setting.register(engine, setting.product_card())
    with pytest.raises(Refused) as foreign:
        _reserve(engine, setting.request(), "k", OTHER)
    with pytest.raises(Refused) as unknown:
        _reserve(engine, setting.request(gtin=setting.OTHER_GTIN), "k", OTHER)
    assert foreign.value.reasons == unknown.value.reasons == ("foreign_gtin",)
    assert foreign.value.findings[0].text == unknown.value.findings[0].text
    assert _reserve(engine, setting.request(), "k", OPERATOR).uscc == setting.USCC


@pytest.mark.parametrize(
    ("scope", "target"),
    [
        (Scope.ENTERPRISE, setting.USCC),
        (Scope.PRODUCT, GTIN),
        (Scope.STANDARD, "T/ZZB 0664-2018"),
        (Scope.RECOGNITION, "ZPM-2025-001"),
        (Scope.LOT, f"{GTIN}:L1"),
    ],
)
def test_a_decision_on_any_record_that_reaches_the_product_stops_issuing(
    engine: Engine, scope: Scope, target: str
) -> None:
    """The decision is read from the cards that scans read."""
    setting.register(engine, setting.product_card())
    setting.decide(engine, scope, target, State.SUSPENDED)
    with pytest.raises(Refused) as refusal:
        _reserve(engine, setting.request(lot="L1"), "k")
    assert refusal.value.reasons == ("not_in_force",)
    assert target in refusal.value.findings[0].text.zh
    setting.decide(engine, scope, target, State.GOOD)
    assert _reserve(engine, setting.request(lot="L1"), "k").number


@pytest.mark.parametrize("gtin", ["", "\0", "x" * 10_000, "'; DROP TABLE batch; --", "０9501101530003", "p:1"])
def test_hostile_gtins_are_refused(engine: Engine, gtin: str) -> None:
    """Any text in place of a GTIN."""
    with pytest.raises(Refused) as refusal:
        _reserve(engine, setting.request(gtin=gtin), "k")
    assert refusal.value.reasons == ("foreign_gtin",)


@pytest.mark.parametrize(
    "base", ["", "HTTPS://A", "https://a/", "ftp://a", "https://a,b", "https://a\r\n", "javascript:x"]
)
def test_only_a_plain_base_address_is_printed(engine: Engine, base: str) -> None:
    """Scheme and host in lower case, no path, no character that ends a CSV cell."""
    with pytest.raises(Refused) as refusal:
        reserve.reserve(engine, setting.request(), caller=MAKER, idempotency_key="k", base=base, now=NOW)
    assert refusal.value.reasons == ("base",)


def test_a_regulator_may_not_issue(engine: Engine) -> None:
    """Not even for the whole province."""
    setting.register(engine, setting.product_card())
    with pytest.raises(Forbidden):
        _reserve(engine, setting.request(level=Level.PRODUCT), "k", Caller(Role.REGULATOR, "330000", "r"))
    assert _count(engine) == 0
