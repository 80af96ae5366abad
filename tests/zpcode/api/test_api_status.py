"""Decisions over HTTP, and the feed of decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.support.authority import Tenants, as_
from zpcode.api.http.context import Authority
from zpcode.projection import client, projector
from zpcode.wire import redis_keys


def _decision(world: Tenants, **changed: Any) -> dict[str, Any]:
    return {"scope": "batch", "target": str(world.my_batch), "action": "flag", "reason": "cloning-suspected"} | changed


def test_a_decision_is_recorded_and_in_redis_when_it_is_answered(
    http: httpx.Client, here: Authority, redis: Any, world: Tenants
) -> None:
    """Without a worker."""
    projector.catch_up(here.engine, here.redis)
    answer = http.post("/v1/status-changes", json=_decision(world), headers=as_(world.mine))
    assert answer.status_code == 201
    made = answer.json()
    assert (made["state"], made["actor"], made["projected"], made["repeated"]) == ("flagged", "enterprise", True, False)
    assert b"flagged" in redis.get(redis_keys.location(f"b:{world.my_batch}")[0])


def test_a_decision_leaves_an_empty_redis_to_the_worker(http: httpx.Client, redis: Any, world: Tenants) -> None:
    """Filling Redis may take minutes: a revocation does not wait for it, and the response says so."""
    answer = http.post("/v1/status-changes", json=_decision(world), headers=as_(world.mine))
    assert (answer.status_code, answer.json()["projected"]) == (201, False)
    assert not redis.exists(redis_keys.HEAD)


def test_deciding_the_same_again_is_no_new_decision(http: httpx.Client, world: Tenants) -> None:
    """200 with the first one."""
    first = http.post("/v1/status-changes", json=_decision(world), headers=as_(world.mine)).json()
    again = http.post("/v1/status-changes", json=_decision(world), headers=as_(world.mine))
    assert again.status_code == 200
    assert again.json() == first | {"repeated": True}


def test_a_decision_is_recorded_while_redis_is_away(
    http: httpx.Client, app: FastAPI, here: Authority, world: Tenants
) -> None:
    """It says that it is not projected yet."""
    gone = client.connect("redis://127.0.0.1:9/0")
    app.state.authority = replace(here, redis=gone)
    answer = http.post("/v1/status-changes", json=_decision(world), headers=as_(world.mine))
    assert (answer.status_code, answer.json()["projected"]) == (201, False)
    gone.close()


def test_a_regulator_decides_in_their_region_only(http: httpx.Client, world: Tenants) -> None:
    """In the next city there is no such batch."""
    decision = _decision(world, action="suspend", reason="counterfeit-suspected", legal_basis="《产品质量法》第十八条")
    assert http.post("/v1/status-changes", json=decision, headers=as_(world.ningbo)).status_code == 404
    assert http.post("/v1/status-changes", json=decision, headers=as_(world.hangzhou)).status_code == 201


def test_the_feed_is_continued_from_the_last_page(http: httpx.Client, world: Tenants) -> None:
    """In the order of the decisions, only the caller's."""
    ids = []
    for action, reason in (
        ("flag", "cloning-suspected"),
        ("restore", "investigation-closed"),
        ("flag", "cloning-suspected"),
    ):
        answer = http.post(
            "/v1/status-changes", json=_decision(world, action=action, reason=reason), headers=as_(world.mine)
        )
        ids.append(answer.json().get("id"))
    assert None not in ids
    page = http.get("/v1/status-changes", params={"limit": 2}, headers=as_(world.mine)).json()
    assert [one["id"] for one in page["items"]] == ids[:2]
    rest = http.get("/v1/status-changes", params={"after": page["next"]}, headers=as_(world.mine)).json()
    assert [one["id"] for one in rest["items"]] == ids[2:]
    assert http.get("/v1/status-changes", headers=as_(world.theirs)).json()["items"] == []
    history = {"scope": "batch", "target": str(world.my_batch)}
    own = http.get("/v1/status-changes", params=history, headers=as_(world.mine)).json()
    assert [one["id"] for one in own["items"]] == ids


@pytest.mark.parametrize("params", [{"scope": "batch"}, {"target": "1"}, {"scope": "batch", "target": "1", "after": 1}])
def test_a_history_needs_scope_and_target(http: httpx.Client, world: Tenants, params: dict[str, Any]) -> None:
    """Half a question is refused."""
    answer = http.get("/v1/status-changes", params=params, headers=as_(world.mine))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["reason"] == "together"


def test_every_finding_of_a_decision_is_in_the_answer(http: httpx.Client, world: Tenants) -> None:
    """With pointers into the body."""
    decision = _decision(world, reason="because", note={"en": "only English"}, effective_at="2020-01-01T00:00:00+08:00")
    answer = http.post("/v1/status-changes", json=decision, headers=as_(world.mine))
    assert {one["pointer"] for one in answer.json()["errors"]} == {"/reason", "/note/zh", "/effective_at"}
