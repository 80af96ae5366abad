"""A database restored from a backup: no scan is green on its word alone, and codes of a lost record are not called forged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from redis import Redis

from tests.support import restores
from tests.support import scan_factories as make
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.rules.cards import lost_batch_card
from zpcode.rules.continuity import BehindEvidence
from zpcode.store import continuity
from zpcode.store.database.session import transaction
from zpcode.wire import card
from zpcode.wire.payload import Code
from zpcode.wire.vocabulary import Scope, State

REVOKED = {make.s(Scope.PRODUCT, GTIN): make.standing(State.REVOKED)}
LOST = 9


def test_what_redis_lacks_is_not_read_from_a_database_that_is_older_than_redis(
    addresses: ServerAddresses, service: ScanService, registry: ScanAuthority, redis: Redis
) -> None:
    """Neither by a process that was there before the restore nor by one that starts after it."""
    dumped = restores.dump(addresses)
    registry.put(REVOKED)
    assert service.verdict(registry.item()) == "revoked"
    restores.restore(addresses, dumped)
    redis.delete("zp:{s}")  # evicted: now the database would be asked whether the product is revoked
    with ScanService(make.settings(addresses, registry.room)) as fresh:
        assert fresh.verdict(registry.item(1)) == "unconfirmed"
    service.compare()
    assert service.verdict(registry.item(2)) == "revoked"  # it remembers what Redis said
    redis.flushall()
    service.compare()
    assert service.verdict(registry.item(3)) != "verified"


def test_a_database_that_is_known_to_be_behind_is_believed_by_no_process(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    """Redis is empty and the process has just started: only the record in the database is left."""
    with transaction(registry.engine) as connection:
        evidence = [BehindEvidence("redis", "revision", "9", "8")]
        continuity.record_behind(connection, evidence, datetime.now(UTC))
    redis.flushall()
    with ScanService(make.settings(addresses, registry.room)) as fresh:
        assert fresh.verdict(registry.item()) == "unconfirmed"


@pytest.mark.parametrize("former", [None, make.batch(LOST)], ids=["only the number is known", "its card is known"])
def test_a_code_of_a_lost_batch_cannot_be_confirmed_and_is_not_called_forged(
    service: ScanService, registry: ScanAuthority, former: card.BatchCard | None
) -> None:
    """The page says why, and that this does not mean a forgery. A revocation still shows."""
    lost = lost_batch_card(LOST, former, (), exceptions=False)
    registry.put({card.batch_key(LOST): lost})
    path = registry.item(0, LOST)
    assert service.verdict(path) == "unconfirmed"
    page = service.get(path).text
    assert "does not mean that it is forged" in page
    assert "Please scan again in a few minutes" not in page
    registry.put(REVOKED)
    assert service.verdict(path) == "revoked"


def test_a_compact_code_of_a_lost_batch_cannot_be_confirmed(service: ScanService, registry: ScanAuthority) -> None:
    """Its check needs a secret that is lost too, so a right and a wrong check look the same."""
    registry.put({card.batch_key(LOST): lost_batch_card(LOST, None, (), exceptions=False)})
    for wrong in (False, True):
        path = Code(make.compact_identity(0, LOST, wrong=wrong)).path
        assert service.verdict(path) == "unconfirmed"
