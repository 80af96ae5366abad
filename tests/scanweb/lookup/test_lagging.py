"""Replicas of PostgreSQL or Redis that lag: a decision that the process knows is never taken back."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis
from sqlalchemy import text

from tests.support import databases
from tests.support import scan_factories as make
from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService
from zpcode.embedded.servers import ServerAddresses
from zpcode.store.database.session import connect
from zpcode.wire import card, redis_keys
from zpcode.wire.vocabulary import Scope, State

NOBODY = "postgresql://zpcode_scan:x@/zpcode?host=/nonexistent"
PRODUCT = make.s(Scope.PRODUCT, GTIN)


@pytest.fixture
def lagging(addresses: ServerAddresses, registry: ScanAuthority) -> Iterator[str]:
    """The address of a copy of the database as it is now: a replica that receives no changes any more."""
    name = addresses.database.rpartition("?")[0].rpartition("/")[2]
    registry.engine.dispose()
    superuser = connect(addresses.owner_database.replace(f"/{name}?", "/postgres?"), pool_size=1)
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}_replica TEMPLATE {name}"))
        yield addresses.scan_database.replace(f"/{name}?", f"/{name}_replica?")
        databases.drop(connection, f"{name}_replica")
    superuser.dispose()


def revoke(registry: ScanAuthority) -> None:
    registry.put({PRODUCT: make.standing(State.REVOKED)})


def test_a_card_that_redis_lost_is_not_read_from_a_database_that_lags(
    addresses: ServerAddresses, registry: ScanAuthority, lagging: str, redis: Redis
) -> None:
    """The replica still has the state before the revocation: no decision."""
    revoke(registry)
    redis.delete(redis_keys.STANDINGS)
    with ScanService(make.settings(addresses, registry.room, scan_database_url=lagging)) as service:
        assert service.verdict(registry.item()) == "unconfirmed"


def test_a_process_that_knows_better_does_not_follow_a_database_that_lags(
    addresses: ServerAddresses, registry: ScanAuthority, lagging: str, redis: Redis
) -> None:
    with ScanService(make.settings(addresses, registry.room, scan_database_url=lagging)) as service:
        assert service.verdict(registry.item()) == "verified"
        revoke(registry)
        assert service.verdict(registry.item()) == "revoked"
        redis.flushall()
        assert service.json(registry.item())["tone"] != "good"
        service.compare()
        assert service.json(registry.item())["tone"] != "good"
        assert service.app.health()["answers_from"] == "nowhere"
        registry.project()
        service.compare()
        assert service.verdict(registry.item()) == "revoked"


def test_a_redis_that_went_back_in_time_is_not_believed_alone(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis
) -> None:
    """A failover to a replica without the revocation, while the database is down."""
    with ScanService(make.settings(addresses, registry.room, scan_database_url=NOBODY)) as service:
        assert service.verdict(registry.item()) == "verified"
        old = {key: redis.dump(key) or b"" for key in redis.keys("zp:*")}
        revoke(registry)
        assert service.verdict(registry.item()) == "revoked"
        new = {key: redis.dump(key) or b"" for key in redis.keys("zp:*")}
        for content, tones in ((old, {"neutral", "bad"}), (new, {"bad"})):
            redis.flushall()
            assert service.json(registry.item())["tone"] == "neutral", "all is forgotten but how far it was"
            for key, value in content.items():
                redis.restore(key, 0, value)
            service.compare()
            assert {service.json(registry.item(index))["tone"] for index in range(5)} <= tones
        eventually(lambda: service.app.health()["answers_from"] == "redis")


def test_a_database_that_lags_between_two_questions_is_not_laid_over_redis(
    addresses: ServerAddresses, registry: ScanAuthority, lagging: str
) -> None:
    """The head comes from one replica, the changes come from another replica that lags behind it."""
    revision = registry.commit({PRODUCT: make.standing(State.REVOKED), card.batch_key(9): make.batch(9)})
    with ScanService(make.settings(addresses, registry.room, scan_database_url=lagging)) as service:
        assert service.do(service.app.freshness._since(revision - 2, revision)) is None
        assert service.do(service.app.freshness._since(revision - 2, revision - 2)) == {}
