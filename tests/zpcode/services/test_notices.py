"""Public notices from a regulator's decision to the card, to Redis and to a scan process."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine, text

from tests.support import scan_factories as make
from tests.support.databases import as_owner
from tests.support.registry_data import as_json, gtin, registry, uscc
from tests.support.scan_factories import ScanAuthority, ScanService
from tests.support.status_setting import (
    COUNTY,
    LOT,
    MAKER,
    OPERATOR,
    PROVINCE,
    ask,
    decided,
    furnished,
    in_database,
    in_redis,
    world,
)
from zpcode.embedded.servers import ServerAddresses
from zpcode.projection import comparison, projector
from zpcode.rules.status.decisions import Action
from zpcode.services import notices
from zpcode.services.registry.importing import import_registry
from zpcode.services.status import change as status
from zpcode.store import cards
from zpcode.store.database.session import transaction
from zpcode.wire.card import MAX_NOTICES, NoticeInfo, NoticesCard, notices_key
from zpcode.wire.redis_keys import location
from zpcode.wire.vocabulary import Bilingual, Scope, State

__all__ = ["furnished", "world"]
KEY = notices_key()
NUMBER = "浙市监召〔2026〕18号"


def card(engine: Engine) -> NoticesCard | None:
    """The card in the database."""
    body = in_database(engine)(KEY)
    return None if body is None else msgspec.msgpack.decode(body, type=NoticesCard)


def listed(engine: Engine) -> list[tuple[str, State, int]]:
    """Number, state and end of each notice on the card."""
    notices_card = card(engine)
    return [] if notices_card is None else [(one.number, one.state, one.ended_at) for one in notices_card.notices]


@pytest.mark.usefixtures("world")
def test_a_decision_with_a_notice_number_is_listed_and_a_restoration_ends_it(engine: Engine, now: datetime) -> None:
    """An enterprise's decision and a decision without a notice number are no public notice."""
    recall = ask(Scope.LOT, f"{gtin(1)}:{LOT}", Action.RECALL, note=Bilingual("请停止使用", "Stop using it"))
    decided(
        engine, MAKER, now, ask(Scope.LOT, f"{gtin(1)}:{LOT}", Action.FLAG, "counterfeit-suspected", notice="内部-1")
    )
    decided(engine, PROVINCE, now, recall)
    assert card(engine) is None
    decided(engine, PROVINCE, now, ask(Scope.PRODUCT, gtin(1), Action.RECALL, notice=NUMBER, note=recall.note))
    decided(engine, COUNTY, now, ask(Scope.PRODUCT, gtin(1), Action.FLAG, notice="余市监〔2026〕2号"))
    assert listed(engine) == [("余市监〔2026〕2号", State.FLAGGED, 0), (NUMBER, State.RECALLED, 0)]
    notices_card = card(engine)
    assert notices_card is not None
    assert (notices_card.notices[1].gtin, notices_card.notices[1].note) == (gtin(1), recall.note)
    assert notices_card.notices[1].about.zh == registry(1)["products"][0]["name"]["zh"]
    assert notices_card.notices[1].decided_by.zh == "浙江省市场监督管理局"
    later = now + timedelta(days=1)
    decided(engine, PROVINCE, later, ask(Scope.PRODUCT, gtin(1), Action.RESTORE, notice="浙市监召〔2026〕19号"))
    assert listed(engine) == [
        ("余市监〔2026〕2号", State.FLAGGED, 0),
        (NUMBER, State.RECALLED, int(later.timestamp())),
    ]


@pytest.mark.usefixtures("world")
def test_the_card_and_the_public_list_are_of_one_source(engine: Engine, now: datetime) -> None:
    """The card has the newest entries of /v1/notices, newest first."""
    for number in range(MAX_NOTICES + 3):
        action = Action.FLAG if number % 2 else Action.SUSPEND
        decided(engine, OPERATOR, now, ask(Scope.ENTERPRISE, uscc(1), action, notice=f"第{number}号"))
    followed = [change.notice for change in status.notices(engine, 0, 200)]
    assert [number for number, _, _ in listed(engine)] == followed[: -MAX_NOTICES - 1 : -1]
    assert len(listed(engine)) == MAX_NOTICES


@pytest.mark.usefixtures("world")
def test_a_name_that_changes_in_the_registry_changes_in_the_notice(engine: Engine, now: datetime) -> None:
    """The import changes the notice; a dry run does not."""
    decided(engine, PROVINCE, now, ask(Scope.PRODUCT, gtin(1), Action.RECALL, notice=NUMBER))
    content = registry(1)
    content["products"][0]["name"] = {"zh": "新名", "en": "New name"}
    before = card(engine)
    import_registry(engine, as_json(content), actor=OPERATOR.name, now=now, dry_run=True)
    assert card(engine) == before
    import_registry(engine, as_json(content), actor=OPERATOR.name, now=now)
    notices_card = card(engine)
    assert notices_card is not None
    assert notices_card.notices[0].about == Bilingual("新名", "New name")


@pytest.mark.usefixtures("world")
def test_redis_is_filled_with_the_card_and_the_comparison_repairs_it(
    engine: Engine, redis: Redis, now: datetime
) -> None:
    """An emptied, altered or invented card is replaced by the database's card."""
    decided(engine, PROVINCE, now, ask(Scope.PRODUCT, gtin(1), Action.RECALL, notice=NUMBER))
    for _ in range(2):
        projector.catch_up(engine, redis)
        assert in_redis(redis)(KEY) == in_database(engine)(KEY) is not None
        redis.flushall()
    projector.catch_up(engine, redis)
    redis.set(location(KEY)[0], b"12345678rubbish")
    worker = comparison.ProjectionComparison(engine, redis, 1)
    assert sum(worker.step() for _ in range(3)) == 1
    assert in_redis(redis)(KEY) == in_database(engine)(KEY)
    with as_owner(engine) as connection:
        connection.execute(text("DELETE FROM card WHERE key = :key"), {"key": KEY})
    while not worker.by_kind.get("stray"):
        worker.step()
    assert not redis.exists(location(KEY)[0])


@pytest.mark.usefixtures("world")
def test_a_database_with_notices_from_before_there_was_a_card_gets_one(engine: Engine, now: datetime) -> None:
    """Once; one without notices needs none."""
    assert not notices.begin(engine)
    decided(engine, PROVINCE, now, ask(Scope.PRODUCT, gtin(1), Action.RECALL, notice=NUMBER))
    with as_owner(engine) as connection:
        connection.execute(text("DELETE FROM card WHERE key = :key"), {"key": KEY})
    assert notices.begin(engine)
    assert not notices.begin(engine)
    assert [number for number, _, _ in listed(engine)] == [NUMBER]


# What a scan process shows --------------------------------------------------------------------------------


def published(number: str = NUMBER) -> NoticesCard:
    """A card with one notice."""
    return NoticesCard((NoticeInfo(number, State.RECALLED, Scope.PRODUCT, 1, Bilingual("茶具")),))


def shown(service: ScanService) -> NoticesCard | None:
    """The notices that the process shows after a read."""

    async def read() -> NoticesCard | None:
        await service.app.freshness.compare()
        await service.app.notices.refresh()
        return service.app.notices.current()

    return service.do(read())


def test_a_scan_process_shows_the_notices_and_follows_them(registry: ScanAuthority, service: ScanService) -> None:
    """No notices yet is another state than notices that cannot be read."""
    assert service.app.notices.current() == NoticesCard()
    for number in ("一号", "二号"):
        registry.put({KEY: published(number)})
        assert shown(service) == published(number)
    registry.commit({KEY: published("三号")})
    assert shown(service) == published("三号"), "committed, and not in Redis yet"


def test_nothing_is_read_while_nothing_changed(registry: ScanAuthority, service: ScanService) -> None:
    """The notices cause no read of Redis or of the database."""
    registry.put({KEY: published()})
    assert shown(service) == published()

    async def read() -> tuple[int, int]:
        before = service.app.redis.trips, service.app.database.queries
        await service.app.notices.refresh()
        return service.app.redis.trips - before[0], service.app.database.queries - before[1]

    assert service.do(read()) == (0, 0)


def test_without_redis_the_database_tells_and_without_both_nobody(
    addresses: ServerAddresses, registry: ScanAuthority, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unconfirmed notices are shown for half a minute at most."""
    registry.put({KEY: published()})
    redis.flushall()
    with ScanService(make.settings(addresses, registry.room)) as service:
        assert shown(service) == published()
        monkeypatch.setattr(service.app.notices, "_clock", lambda clock=service.app.notices._clock: clock() + 31)
        assert service.app.notices.current() is None
        monkeypatch.setattr(service.app.notices, "_reachable", lambda: False)
        assert shown(service) is None
    nowhere = {"scan_redis_url": "redis://127.0.0.1:1", "scan_database_url": "postgresql://nobody@127.0.0.1:1/x"}
    with ScanService(make.settings(addresses, registry.room, **nowhere)) as service:
        assert service.app.notices.current() is None
        assert service.get("/").status_code == 200


def test_a_card_of_rubbish_is_not_shown(registry: ScanAuthority, service: ScanService) -> None:
    """Nor does it stop anything."""
    registry.put({KEY: published()})
    assert shown(service) == published()
    with transaction(registry.engine) as connection:
        cards.put_cards(connection, {KEY: b"\xc1"})
    registry.project()
    assert shown(service) == published(), "the last one that could be read, for as long as it may be shown"
