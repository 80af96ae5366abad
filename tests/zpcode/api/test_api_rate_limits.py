"""Rate limits of keys and addresses over HTTP: 429 with Retry-After, and other callers are not affected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event

from tests.support.authority import Tenants, as_
from tests.support.clock import Clock
from zpcode.api.http.context import Authority
from zpcode.api.http.rate_limits import ApiRateLimits

REQUESTS, FAILURES = 5, 3
ATTACKER, OFFICE = "60.191.0.1", "60.191.0.2"
WRONG = f"zpk_{'0' * 12}_{'A' * 52}"


@pytest.fixture
def here(here: Authority, clock: Clock) -> Authority:
    """An authority with low rate limits."""
    return replace(here, rate_limits=ApiRateLimits(REQUESTS, FAILURES, clock))


def get(http: httpx.Client, token: str = "", address: str = ATTACKER, **more: str) -> httpx.Response:
    """One request through a proxy on this machine."""
    headers = {"X-Forwarded-For": address, **(as_(token) if token else {}), **more}
    return http.get("/v1/products", headers=headers)


def statuses(ask: Callable[[], httpx.Response], times: int) -> list[int]:
    """The statuses of this many requests."""
    return [ask().status_code for _ in range(times)]


def test_a_key_over_its_limit_waits_and_the_others_do_not(http: httpx.Client, world: Tenants, clock: Clock) -> None:
    assert statuses(lambda: get(http, world.mine), REQUESTS + 2) == [200] * REQUESTS + [429] * 2
    assert get(http, world.mine, OFFICE).status_code == 429
    assert get(http, world.theirs).status_code == 200
    clock.seconds += 60 / REQUESTS
    assert statuses(lambda: get(http, world.mine), 2) == [200, 429]


def test_what_an_enterprise_writes_in_a_day_is_bounded_over_all_its_keys(
    http: httpx.Client, app: FastAPI, here: Authority, world: Tenants, clock: Clock
) -> None:
    """So storage is bounded. Reading goes on; other enterprises, offices and the operator are not affected."""
    app.state.authority = replace(here, rate_limits=ApiRateLimits(0, 0, clock, writes=3))

    def write(token: str) -> int:
        return http.post("/v1/status-changes", headers=as_(token), json={}).status_code

    assert [write(world.mine) for _ in range(5)] == [422] * 3 + [429] * 2
    assert get(http, world.mine).status_code == 200
    assert write(world.theirs) == 422
    assert {write(token) for token in (world.hangzhou, world.operator) for _ in range(5)} == {422}
    clock.seconds += 86_400 / 3
    assert [write(world.mine) for _ in range(2)] == [422, 429]


def test_the_refusal_is_a_problem_in_both_languages_that_says_when(http: httpx.Client, world: Tenants) -> None:
    statuses(lambda: get(http, world.mine), REQUESTS)
    for language, detail in (("en", "try again in 12 s"), ("zh-CN", "请在 12 秒后再试")):
        answer = get(http, world.mine, **{"Accept-Language": language})
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "12"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"] == "/problems/too-many-requests"
        assert detail in answer.json()["detail"]
        assert answer.json()["languages"].keys() == {"zh", "en"}


def test_an_address_that_tries_keys_waits(http: httpx.Client, world: Tenants, clock: Clock) -> None:
    """Every try has another key; a request without a key counts the same."""
    assert statuses(lambda: get(http), 1) == [401]
    wrong = iter(f"zpk_{number:012d}_{'A' * 52}" for number in range(100))
    assert statuses(lambda: get(http, next(wrong)), FAILURES + 1) == [401] * (FAILURES - 1) + [429] * 2
    assert get(http, WRONG, OFFICE).status_code == 401
    assert get(http, world.theirs, OFFICE).status_code == 200
    clock.seconds += 60 / FAILURES
    assert statuses(lambda: get(http, next(wrong)), 2) == [401, 429]


def test_beyond_the_limit_what_is_no_key_is_refused_without_the_database(
    http: httpx.Client, here: Authority, world: Tenants
) -> None:
    assert world
    assert statuses(lambda: get(http), FAILURES) == [401] * FAILURES
    queries: list[str] = []

    def note(*arguments: object) -> None:
        queries.append(str(arguments[2]))

    event.listen(here.engine, "before_cursor_execute", note)
    assert statuses(lambda: get(http), 5) == [429] * 5
    assert statuses(lambda: get(http, "zpk_no_key"), 1) == [429]
    assert queries == []
    assert get(http, WRONG).status_code == 429
    event.remove(here.engine, "before_cursor_execute", note)
    assert len(queries) == 1, "a possible key costs one query"


def test_a_valid_key_is_accepted_from_an_address_that_guesses(http: httpx.Client, world: Tenants) -> None:
    """Behind a carrier's NAT, strangers share the address of an office. No process has seen its key; a revoked one is refused."""
    wrong = iter(f"zpk_{number:012d}_{'A' * 52}" for number in range(100))
    statuses(lambda: get(http, next(wrong)), FAILURES + 2)
    assert get(http, world.mine).status_code == 200
    assert get(http, world.hangzhou).status_code == 200
    key_id = world.mine.split("_")[1]
    assert http.delete(f"/v1/api-keys/{key_id}", headers=as_(world.operator)).status_code == 200
    assert get(http, world.mine).status_code == 429


def test_an_address_that_reads_notices_without_end_waits_and_no_other(
    http: httpx.Client, app: FastAPI, here: Authority, world: Tenants, clock: Clock
) -> None:
    """Its network has eight times as much. A valid key is not affected, and a balancer may ask for readiness without end."""
    app.state.authority = replace(here, rate_limits=ApiRateLimits(0, 0, clock, reads=2))

    def read(address: str, path: str = "/v1/notices") -> int:
        return http.get(path, headers={"X-Forwarded-For": address}).status_code

    assert [read(ATTACKER), read(ATTACKER, "/readyz"), read(ATTACKER), read(ATTACKER, "/readyz")] == [
        200,
        200,
        429,
        429,
    ]
    assert get(http, world.mine).status_code == 200
    neighbours = [read(f"60.191.0.{number // 2}") for number in range(4, 20)]
    assert neighbours == [200] * 14 + [429] * 2
    assert read("60.191.1.1") == 200
    assert {read("10.0.0.7", "/readyz") for _ in range(5)} == {200}
    clock.seconds += 60
    assert read(ATTACKER) == 200


def test_an_ipv6_customer_is_one_address(http: httpx.Client, world: Tenants) -> None:
    assert world
    statuses = [get(http, address=f"2408:8000:1:2::{number}").status_code for number in range(FAILURES + 1)]
    assert statuses == [401] * FAILURES + [429]
    assert get(http, address="2408:8000:1:3::1").status_code == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "nonsense", "fd00::1"])
def test_behind_a_proxy_that_hides_its_clients_no_failure_is_counted(http: httpx.Client, address: str) -> None:
    assert statuses(lambda: get(http, address=address), FAILURES * 2) == [401] * FAILURES * 2


def test_without_a_limit_no_request_waits(world: Tenants) -> None:
    rate_limits = ApiRateLimits(0, 0)
    for _ in range(3000):
        rate_limits.spend_request(world.mine)
        rate_limits.check_failures(ATTACKER)
        rate_limits.spend_failure(ATTACKER)
