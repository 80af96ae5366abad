"""The setting of the status tests: two registered enterprises in two cities, their batches, and the verdict of a scan.

Enterprise 1 sits in Yuhang (330110, Hangzhou), enterprise 2 in Haishu (330203, Ningbo). Each has a product
under a recognition, and batches of all four levels that are issued and active.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support import databases
from tests.support.clock import NOW
from tests.support.databases import Furnished
from tests.support.registry_data import as_json, gtin, registry, uscc
from zpcode.embedded.servers import Servers
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.rules.status.reasons import REASONS
from zpcode.services.batches import reserve as services
from zpcode.services.registry.importing import import_registry
from zpcode.services.status.change import change
from zpcode.store import audit, batches, cards
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today
from zpcode.wire.card import (
    BatchCard,
    LotCard,
    ProductCard,
    Timeline,
    batch_key,
    item_key,
    lot_key,
    product_key,
    standing_key,
)
from zpcode.wire.payload import Code, Identity, Level, Serial, check_of
from zpcode.wire.permutation import Permutation
from zpcode.wire.verdict import Evidence, Outcome, Proof, decide
from zpcode.wire.vocabulary import Scope

KEY_ID = "ABCD"
LOT = "L-1"
MAKER = Caller(Role.ENTERPRISE, uscc(1), "maker")
OTHER = Caller(Role.ENTERPRISE, uscc(2), "other")
COUNTY = Caller(Role.REGULATOR, "330110", "yuhang")
CITY = Caller(Role.REGULATOR, "330100", "hangzhou")
NINGBO = Caller(Role.REGULATOR, "330200", "ningbo")
PROVINCE = Caller(Role.REGULATOR, "330000", "zhejiang")
ELSEWHERE = Caller(Role.REGULATOR, "310000", "shanghai")
OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")
BASIS = "《中华人民共和国产品质量法》第四十九条"

Fetch = Callable[[str], bytes | None]
CardType = TypeVar("CardType", BatchCard, LotCard, ProductCard, Timeline)


@dataclass(frozen=True, slots=True)
class EnterpriseBatches:
    """The numbers of enterprise 1's batches by level."""

    item: int
    compact: int
    product: int
    lot: int


@pytest.fixture(scope="session")
def furnished(servers: Servers, migrated: str) -> Furnished[EnterpriseBatches]:
    """A database with enterprise 1 and its batches as of `now`, made once for all tests that ask for `world`."""
    return databases.furnish(servers, migrated, lambda engine: settle(engine, NOW))


@pytest.fixture
def world(furnished: Furnished[EnterpriseBatches]) -> EnterpriseBatches:
    """Enterprise 1 with its batches."""
    return furnished.content


def settle(engine: Engine, now: datetime, number: int = 1) -> EnterpriseBatches:
    """Register an enterprise and issue one batch of each level to it."""
    content = registry(number)
    if number == 2:
        content["enterprises"][0]["region"] = "330203"
    import_registry(engine, as_json(content), actor=OPERATOR.name, now=now)
    caller = MAKER if number == 1 else OTHER
    return EnterpriseBatches(
        *(
            _issued(engine, level, number, caller, now)
            for level in (Level.ITEM, Level.COMPACT, Level.PRODUCT, Level.LOT)
        )
    )


def _issued(engine: Engine, level: Level, number: int, caller: Caller, now: datetime) -> int:
    new = reserved(engine, level, number, caller, now)
    issue(engine, new, now)
    return new.number


def reserved(engine: Engine, level: Level, number: int, caller: Caller, now: datetime, key: str = "first") -> Batch:
    """A batch of a hundred, reserved."""
    request = BatchRequest(level, gtin(number), 100, lot="" if level is Level.PRODUCT else LOT)
    name = f"{level}-{number}-{key}"
    return services.reserve(engine, request, caller=caller, idempotency_key=name, base="https://zpm.example", now=now)


def issue(engine: Engine, new: Batch, now: datetime) -> None:
    """Issue and activate a reserved batch, as the service does once its file is written."""
    key_id = "" if new.level is Level.COMPACT else KEY_ID
    with transaction(engine) as connection:
        batches.get(connection, new.number, lock=True)
        audit.append(connection, at=now, actor="test", action="batch.issue", object_=f"batch:{new.number}", detail={})
        batches.change(connection, new.number, state="issued", issued_at=now, activated_at=now, key_id=key_id)
        issued = replace(new, state=BatchState.ISSUED, activated_at=now, key_id=key_id)
        services.put_batch_cards(connection, issued)


def ask(scope: Scope, target: object, action: Action, reason: str = "", **changes: Any) -> StatusRequest:
    """A request; without a reason, the first one that is valid for this action and scope."""
    fits = (one.slug for one in REASONS.values() if action in one.actions and scope in one.scopes)
    asked = StatusRequest(scope, str(target), action, reason or next(fits), legal_basis=BASIS)
    return replace(asked, **changes)


def decided(engine: Engine, caller: Caller, now: datetime, *asked: StatusRequest) -> None:
    """Several decisions, one after the other."""
    for one in asked:
        change(engine, one, caller=caller, now=now)


def in_redis(redis: Redis) -> Fetch:
    """Cards as Redis has them."""

    def fetch(key: str) -> bytes | None:
        where, field = redis_keys.location(key)
        value: Any = redis.get(where) if field is None else redis.hget(where, field)
        return None if value is None else redis_keys.unpack(value)[1]

    return fetch


def in_database(engine: Engine) -> Fetch:
    """Cards as the database has them."""

    def fetch(key: str) -> bytes | None:
        with transaction(engine) as connection:
            entries = cards.fetch(connection, [key])
        return entries[0].body if entries else None

    return fetch


def serial_of(engine: Engine, number: int, index: int) -> Serial:
    """The printed serial of an item."""
    with transaction(engine) as connection:
        batch = batches.get(connection, number)
    assert batch is not None
    return Serial(number, Permutation(batch.permutation_key).slot(index))


def printed(engine: Engine, number: int, index: int) -> str:
    """The link of a compact item code as printed."""
    serial = serial_of(engine, number, index)
    with transaction(engine) as connection:
        batch = batches.get(connection, number)
    assert batch is not None
    check = check_of(batch.check_key, batch.gtin, serial)
    return f"https://zpm.example{Code(Identity(batch.gtin, serial=serial, check=check)).path}"


def item_verdict(fetch: Fetch, number: int, index: int, now: datetime) -> Outcome:
    """The verdict of a scan of a sealed or compact item code, from its cards alone."""
    batch = _card(fetch(batch_key(number)), BatchCard)
    assert batch is not None
    own = _card(fetch(item_key(number, index)), Timeline) if batch.exceptions else None
    timelines = [] if own is None else [(Scope.CODE, own)]
    level = Level(batch.level)
    timelines += _standings(fetch, batch.gtin, batch.lot, batch.key_id)
    product = _card(fetch(product_key(batch.gtin)), ProductCard)
    proof = Proof.SEALED if level is Level.ITEM else Proof.ONLINE
    evidence = Evidence(
        level, proof, confirmed=True, product=product, batch=batch, index=index, timelines=tuple(timelines)
    )
    return decide(evidence, now=int(now.timestamp()), today=today(now).isoformat())


def lot_verdict(fetch: Fetch, product_gtin: str, lot: str, now: datetime) -> Outcome:
    """The verdict of a scan of a lot code, or of a product code where `lot` is empty."""
    product = _card(fetch(product_key(product_gtin)), ProductCard)
    dates = _card(fetch(lot_key(product_gtin, lot)), LotCard) if lot else None
    evidence = Evidence(
        Level.LOT if lot else Level.PRODUCT,
        Proof.SEALED,
        confirmed=True,
        product=product,
        lot=dates,
        timelines=tuple(_standings(fetch, product_gtin, lot, KEY_ID)),
    )
    return decide(evidence, now=int(now.timestamp()), today=today(now).isoformat())


def _standings(fetch: Fetch, product_gtin: str, lot: str, key_id: str) -> list[tuple[Scope, Timeline]]:
    product = _card(fetch(product_key(product_gtin)), ProductCard)
    assert product is not None
    reaching = [*product.standing_keys()]
    reaching += [(Scope.LOT, f"{product_gtin}:{lot}")] if lot else []
    reaching += [(Scope.KEY, key_id)] if key_id else []
    timelines = ((scope, _card(fetch(standing_key(scope, target)), Timeline)) for scope, target in reaching)
    return [(scope, timeline) for scope, timeline in timelines if timeline is not None]


def _card(body: bytes | None, kind: type[CardType]) -> CardType | None:
    return None if body is None else msgspec.msgpack.decode(body, type=kind)
