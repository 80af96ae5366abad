"""The journey over HTTP: events reported, listed, corrected, withdrawn, and refused."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest
from redis import Redis
from sqlalchemy import Engine

from tests.support.authority import LOT, Tenants, as_
from tests.support.status_setting import in_database, in_redis
from zpcode.projection import projector
from zpcode.wire.card import BatchCard, batch_key

INSPECTED: dict[str, Any] = {
    "kind": "inspected",
    "at": "2026-10-09",
    "place": {"zh": "杭州", "en": "Hangzhou"},
    "by": {"zh": "中心实验室"},
    "document": "QC-1",
}
SHIPPED: dict[str, Any] = {"kind": "shipped", "at": "2026-10-10T08:30:00+08:00"}


@pytest.fixture
def addresses_of(world: Tenants) -> tuple[str, str]:
    """The paths of the events of the first enterprise's batch and lot."""
    return f"/v1/batches/{world.my_batch}/events", f"/v1/lots/{world.my_gtin}/{LOT}/events"


def kinds(body: bytes | None) -> list[str]:
    """The journey on a batch's card."""
    assert body is not None
    return [event.kind for event in msgspec.msgpack.decode(body, type=BatchCard).journey]


def test_events_are_reported_listed_corrected_and_withdrawn(
    http: httpx.Client, redis: Redis, engine: Engine, world: Tenants, addresses_of: tuple[str, str]
) -> None:
    """Each change is on the batch's card, in the database and at once in Redis."""
    key, me = batch_key(world.my_batch), as_(world.mine)
    projector.catch_up(engine, redis)
    for path in addresses_of:
        response = http.post(path, json={"events": [INSPECTED, SHIPPED]}, headers=me)
        assert (response.status_code, response.json()["recorded"]) == (200, 2), response.text
        first, second = response.json()["items"]
        assert (first["biz_step"], first["at"], first["precision"], first["shown"]) == (
            "inspecting", "2026-10-08T16:00:00Z", "day", True,
        )  # fmt: skip
        assert second["at"] == "2026-10-10T00:30:00Z"
        assert http.post(path, json={"events": [SHIPPED]}, headers=me).json()["recorded"] == 0
        right = SHIPPED | {"document": "YD-2", "supersedes": second["id"]}
        assert http.post(path, json={"events": [right]}, headers=me).json()["recorded"] == 1
        gone = http.post(f"{path}/{first['id']}/withdraw", json={"reason": "another lot"}, headers=me)
        assert (gone.status_code, gone.json()["shown"], gone.json()["withdrawal"]) == (200, False, "another lot")
        listed = http.get(path, headers=me).json()["items"]
        assert [(one["kind"], one["shown"]) for one in listed] == [
            ("produced", True), ("inspected", False), ("shipped", False), ("shipped", True),
        ]  # fmt: skip
    stored = in_database(engine)(key)
    assert kinds(stored) == ["produced", "produced", "shipped", "shipped"]
    assert in_redis(redis)(key) == stored


def test_another_enterprise_gets_404_and_a_regulator_only_reads(
    http: httpx.Client, world: Tenants, addresses_of: tuple[str, str]
) -> None:
    """404 with the same text as for a record that does not exist; 403 for a caller who may only read."""
    body = {"events": [SHIPPED]}
    events = world.my_events
    for path, event in zip(addresses_of, events, strict=True):
        withdraw = f"{path}/{event}/withdraw"
        assert http.get(path, headers=as_(world.theirs)).status_code == 404
        assert http.post(path, json=body, headers=as_(world.theirs)).status_code == 404
        assert http.post(withdraw, json={"reason": "mine"}, headers=as_(world.theirs)).status_code == 404
        assert http.get(path, headers=as_(world.hangzhou)).status_code == 200
        assert http.post(path, json=body, headers=as_(world.hangzhou)).status_code == 403
        assert http.post(withdraw, json={"reason": "mine"}, headers=as_(world.hangzhou)).status_code == 403
        assert http.get(path, headers=as_(world.mine)).json()["items"][0]["shown"]
    crossed = f"{addresses_of[0]}/{events[1]}/withdraw"
    assert http.post(crossed, json={"reason": "of the lot"}, headers=as_(world.mine)).status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"kind": "grown"}, "/events/1/kind"),
        ({"at": "2027-01-01"}, "/events/1/at"),
        ({"at": "yesterday"}, "/events/1/at"),
        ({"note": {"en": "Only English"}}, "/events/1/note/zh"),
        ({"place": {"zh": "一" * 201}}, "/events/1/place/zh"),
        ({"supersedes": 4711}, "/events/1/supersedes"),
        ({"supersedes": "1"}, "/events/1/supersedes"),
        ({"colour": "red"}, "/events/1/colour"),
    ],
)
def test_every_finding_names_its_place_and_nothing_is_recorded(
    http: httpx.Client, world: Tenants, addresses_of: tuple[str, str], change: dict[str, Any], pointer: str
) -> None:
    """The right one beside it neither."""
    me = as_(world.mine)
    answer = http.post(addresses_of[0], json={"events": [INSPECTED, SHIPPED | change]}, headers=me)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert len(http.get(addresses_of[0], headers=me).json()["items"]) == 1


def test_a_hundred_events_at_once_are_the_most(
    http: httpx.Client, world: Tenants, addresses_of: tuple[str, str]
) -> None:
    """And none at all is no report."""
    me = as_(world.mine)
    many = [SHIPPED | {"document": str(number)} for number in range(101)]
    for events in (many, []):
        assert http.post(addresses_of[0], json={"events": events}, headers=me).status_code == 422
    assert http.post(addresses_of[0], json={"events": many[:100]}, headers=me).json()["recorded"] == 100


def test_a_withdrawal_needs_its_reason(http: httpx.Client, world: Tenants, addresses_of: tuple[str, str]) -> None:
    """It is for the audit log."""
    path = f"{addresses_of[0]}/{world.my_events[0]}/withdraw"
    answer = http.post(path, json={"reason": " "}, headers=as_(world.mine))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/reason")
