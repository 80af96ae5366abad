"""The worker compares Redis with the database: differences are found, repaired, and read by scans."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.patience import eventually
from tests.support.scan_factories import GTIN, ScanAuthority, ScanService, batch, product, s
from zpcode.errors import Unavailable
from zpcode.projection import comparison, projector
from zpcode.projection.client import connect
from zpcode.projection.comparison import ProjectionComparison
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.wire import card, redis_keys
from zpcode.wire.card import Standing, Timeline
from zpcode.wire.vocabulary import Scope, State

REVOKED = Timeline((Standing(State.REVOKED, 1_700_000_000, "counterfeit-confirmed"),))


def _round(comparison: ProjectionComparison) -> int:
    """Steps until a whole round is done; returns how much was wrong in it."""
    before, wrong = comparison.rounds, 0
    while comparison.rounds == before:
        wrong += comparison.step()
    return wrong


@pytest.fixture
def comparing(engine: Engine, redis: Redis, registry: ScanAuthority) -> ProjectionComparison:
    """A round through the registry's cards."""
    registry.put({s(Scope.PRODUCT, GTIN): REVOKED, card.item_key(7, 3): REVOKED, card.batch_key(7): _excepting()})
    return ProjectionComparison(engine, redis, 60)


def _excepting() -> card.BatchCard:
    return batch(exceptions=True)


def test_a_lost_standing_is_put_back_and_every_scan_process_hears_of_it(
    comparing: ProjectionComparison, registry: ScanAuthority, service: ScanService
) -> None:
    """Without the comparison the product would stay green for ever: no other reader notices a missing decision."""
    registry.redis.hdel(redis_keys.STANDINGS, f"product:{GTIN}")
    assert service.verdict(registry.item()) == "verified"
    assert _round(comparing) == 1
    assert (comparing.wrong, comparing.repaired, comparing.by_kind) == (1, 1, {"missing": 1})
    assert service.verdict(registry.item()) == "revoked"
    assert _round(comparing) == 0


def test_a_lost_item_is_put_back(
    comparing: ProjectionComparison, registry: ScanAuthority, service: ScanService
) -> None:
    """One field of one batch's hash."""
    registry.put({s(Scope.PRODUCT, GTIN): Timeline((Standing(State.GOOD, 1_700_000_000),))})
    registry.redis.hdel(redis_keys.exceptions(7), "3")
    assert service.verdict(registry.item(3)) == "verified"
    assert _round(comparing) == 1
    assert service.verdict(registry.item(3)) == "revoked"


def test_what_was_never_there_is_taken_out_and_forgotten(
    comparing: ProjectionComparison, registry: ScanAuthority, service: ScanService
) -> None:
    """A decision that was written into Redis without the authority."""
    registry.put({s(Scope.PRODUCT, GTIN): Timeline((Standing(State.GOOD, 1_700_000_000),))})
    forged = redis_keys.pack(1, _body(REVOKED))
    registry.redis.hset(redis_keys.STANDINGS, "enterprise:91331181MA2E4K7R0X", forged)
    assert service.verdict(registry.item()) == "revoked"
    assert _round(comparing) == 1
    assert comparing.by_kind == {"stray": 1}
    assert service.verdict(registry.item()) == "verified"


def _body(timeline: Timeline) -> bytes:
    """A timeline as a card's body."""
    return msgspec.msgpack.encode(timeline)


def test_every_finding_is_logged_with_its_card(
    comparing: ProjectionComparison, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged as an error: Redis should never lose anything."""
    comparing.redis.delete(redis_keys.location(f"p:{GTIN}")[0])  # type: ignore[union-attr]
    with caplog.at_level(logging.ERROR):
        _round(comparing)
    (record,) = caplog.records
    assert (vars(record)["card"], vars(record)["kind"], vars(record)["mended"]) == (f"p:{GTIN}", "missing", True)


def test_a_round_of_many_cards_takes_as_many_slices_as_it_may(
    redis: Redis, registry: ScanAuthority, comparing: ProjectionComparison
) -> None:
    """No slice is larger than two thousand cards; every card is compared once."""
    registry.put({card.product_key(f"{number:014d}"): product(f"{number:014d}") for number in range(450)})
    lost = [f"p:{number:014d}" for number in (0, 199, 200, 201, 449)]
    for key in lost:
        redis.delete(redis_keys.location(key)[0])
    slices = 0
    while comparing.rounds == 0:
        comparing.step()
        slices += 1
    assert slices > 4
    assert comparing.by_kind == {"missing": len(lost)}
    assert all(redis.exists(redis_keys.location(key)[0]) for key in lost)
    assert comparing.compared == 450 + 6
    assert comparison._size(10**9, 10) == comparison.MOST


def test_while_redis_is_away_or_empty_it_waits(engine: Engine, redis: Redis, comparing: ProjectionComparison) -> None:
    """It logs this and continues its round afterwards. The projector fills an empty Redis."""
    away = ProjectionComparison(engine, connect("redis://127.0.0.1:1"), 60)
    with pytest.raises(Unavailable):
        away.step()
    redis.flushall()
    assert _round(comparing) == 0
    assert redis.keys("*") == []


def test_somebody_who_projects_meanwhile_is_not_taken_for_a_loss(
    engine: Engine, registry: ScanAuthority, comparing: ProjectionComparison
) -> None:
    """Committed and not yet projected: newer than the head says, so not wrong; and the projector's lock is respected."""
    registry.commit({card.product_key(GTIN): product(brand="another")})
    assert _round(comparing) == 0
    registry.redis.delete(redis_keys.location("b:8")[0])
    with transaction(engine) as connection:
        cards.lock_projector(connection)
        with pytest.raises(Unavailable):
            _round(comparing)
    assert eventually(lambda: _round(comparing)) == 1


def test_a_repair_that_was_broken_off_is_finished_by_the_next_projection(
    registry: ScanAuthority, comparing: ProjectionComparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the commit and Redis: the card in the table is newer, and the next projection writes it."""
    where = redis_keys.location("b:8")[0]
    registry.redis.delete(where)

    def killed(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(projector, "catch_up", killed)
        with pytest.raises(KeyboardInterrupt):
            _round(comparing)
    assert not registry.redis.exists(where)
    registry.project()
    assert registry.redis.exists(where)
