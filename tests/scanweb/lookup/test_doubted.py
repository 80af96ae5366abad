"""While Redis and the database disagree, a scan shows the graver of both, and nothing is green on the word of Redis alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
import pytest
from redis import Redis

from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.continuity import BehindEvidence
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire import card, redis_keys
from zpcode.wire.payload import Code
from zpcode.wire.vocabulary import Scope, State

HEAD = "zp:{feed}:head"
BATCH, ITEM = card.batch_key(7), card.item_key(7, 0)
REVOKED = make.standing(State.REVOKED)
Cards = Mapping[str, msgspec.Struct]


def forge(redis: Redis, cards: Cards) -> None:
    """Write cards with a revision above the database, as the Redis account of the authority can; processes forget theirs."""
    for key, body in cards.items():
        where, name = redis_keys.location(key)
        value = redis_keys.pack(10**6, msgspec.msgpack.encode(body))
        if name is None:
            redis.set(where, value)
        else:
            redis.hset(where, name, value)
    redis.hset(HEAD, "generation", "forged")


def found_behind(registry: ScanAuthority) -> None:
    """A worker has met the forged revision."""
    with transaction(registry.engine) as connection:
        continuity.record_behind(connection, [BehindEvidence("redis", "revision", "1000000", "9")], datetime.now(UTC))


def found_damaged(registry: ScanAuthority) -> None:
    """A worker has met a damaged witness: that is no evidence that the database is behind."""
    with transaction(registry.engine) as connection:
        continuity.record_doubt(connection, datetime.now(UTC))


@pytest.mark.parametrize("notice", [found_behind, found_damaged])
@pytest.mark.parametrize(
    ("decided", "forged"),
    [
        ({BATCH: make.batch(timeline=REVOKED)}, {BATCH: make.batch()}),
        ({BATCH: make.batch(ranges=(make.ranged(0, 9, State.RECALLED),))}, {BATCH: make.batch()}),
        ({BATCH: make.batch(exceptions=True), ITEM: make.standing(State.SUSPENDED)}, {BATCH: make.batch()}),
        ({make.s(Scope.PRODUCT, GTIN): REVOKED}, {make.s(Scope.PRODUCT, GTIN): card.Timeline(())}),
        (
            {card.product_key(GTIN): make.product(recognition=None), make.s(Scope.PRODUCT, GTIN): REVOKED},
            {card.product_key(GTIN): make.product(), make.s(Scope.PRODUCT, GTIN): card.Timeline(())},
        ),
    ],
    ids=["batch", "range", "item", "product", "product and its card"],
)
def test_a_forged_card_makes_nothing_good_that_the_database_has_as_bad(
    service: ScanService,
    registry: ScanAuthority,
    redis: Redis,
    decided: Cards,
    forged: Cards,
    notice: Callable[[ScanAuthority], None],
) -> None:
    """Whatever has happened to Redis, for as long as the two disagree."""
    registry.put(decided)
    service.compare()
    before = service.verdict(registry.item())
    assert before in {"revoked", "recalled", "suspended"}
    forge(redis, forged)
    notice(registry)
    service.compare()
    assert service.verdict(registry.item()) == before
    redis.hset(HEAD, mapping={"generation": "again", "revision": 2 * 10**6})  # the database is below what was met
    service.compare()
    service.compare()
    assert service.verdict(registry.item()) == before


def test_a_graver_decision_that_only_redis_has_shows(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    """The database was restored from a backup before the recall; it has the batch as suspended."""
    registry.put({BATCH: make.batch(timeline=make.standing(State.SUSPENDED))})
    forge(redis, {BATCH: make.batch(timeline=make.standing(State.RECALLED))})
    found_behind(registry)
    service.compare()
    assert service.verdict(registry.item()) == "recalled"


def test_what_neither_calls_bad_is_verified(service: ScanService, registry: ScanAuthority) -> None:
    """A batch that was issued after the backup too: the seal proves it. Once they agree, Redis is believed alone again."""
    found_behind(registry)
    service.compare()
    assert service.verdict(registry.item()) == "verified"
    with transaction(registry.engine) as connection:
        continuity.add_recovery(connection, at=datetime.now(UTC), actor="tester", audit_id=1, taken_in={})
    service.compare()
    with service.reads() as keys:
        assert service.verdict(registry.item()) == "verified"
    assert keys == []


def test_the_check_of_a_compact_code_is_not_believed_from_redis_alone(
    service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    """Whoever writes the secret of a batch into Redis can make codes that fit it: of a batch that exists, or of a new one."""
    other = bytes(16)
    path = Code(make.compact_identity()).path
    assert service.verdict(path) == "verified"
    forge(
        redis, {card.batch_key(number): make.batch(number, level="compact", check_key=make.CHECK) for number in (8, 9)}
    )
    registry.commit({card.batch_key(8): make.batch(8, level="compact", check_key=other)})
    found_behind(registry)
    service.compare()
    assert service.verdict(path) == "unconfirmed"
    assert service.verdict(Code(make.compact_identity(0, 9)).path) == "unconfirmed"


def test_while_the_database_is_silent_nothing_is_green(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    """A grave decision in Redis still shows."""
    with ScanService(make.settings(addresses, registry.room)) as service:
        found_behind(registry)
        service.compare()
        service.do(service.app.database.close())
        service.app.database._engine = None
        assert service.verdict(registry.item()) == "unconfirmed"
        forge(redis, {BATCH: make.batch(timeline=REVOKED)})
        service.compare()
        assert service.verdict(registry.item()) == "revoked"
