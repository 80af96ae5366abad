"""PostgreSQL fails in several ways: codes in memory or Redis are answered, others are unconfirmed, the API answers 503."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.faults.load import Load, firsts, good, neutral
from tests.faults.world import Installation
from tests.support import scan_factories as make
from tests.support import status_setting as setting
from tests.support.patience import eventually
from zpcode.errors import Unavailable
from zpcode.rules.access import Caller, Role
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services import access, audit
from zpcode.wire import card, redis_keys
from zpcode.wire.vocabulary import Scope

pytestmark = pytest.mark.proof

TIMEOUT_SECONDS = 20
"""Seconds after which a client of the API gives up."""


def test_killed_and_started_again(world: Installation) -> None:
    """Known codes are answered as always; codes not read before are unconfirmed; afterwards every code is confirmed."""
    cold = [world.registry.item(index, 42) for index in range(10)]
    with Load(world.ports, world.codes) as load:
        load.more()
        world.servers.processes.kill("postgres")
        with Load(world.ports, cold, clients=1) as newcomers:
            newcomers.until_each(neutral)
            assert all(map(neutral, newcomers.more(20)))
            assert {response.verdict for response in load.more()} == {"verified", "revoked"}
            assert {world.stands_on(port) for port in world.ports} == {"redis"}
        # No scan of the cold codes between the restart and their issue: the verdict would rightly be unknown.
        world.servers.start_postgres()
        world.registry.put({card.batch_key(42): make.batch(42)})
        with Load(world.ports, cold, clients=1) as newcomers:
            newcomers.until_each(lambda response: response.verdict == "verified")
        fresh = world.revoke(0)
        revoked_since = load.until_each(lambda response: response.path == fresh and response.verdict == "revoked")
        world.scans_drained()
        load.more()
    assert good(load.responses, world.revoked) == []
    assert good(load.since(revoked_since), [fresh]) == []
    assert max(firsts(load.responses).values()) == 1


# The API ------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(bare: Installation) -> Iterator[httpx.Client]:
    """An operator's client of a running API."""
    operator = Caller(Role.OPERATOR, "*", "cli:test")
    token = access.create(bare.engine, Role.OPERATOR, "*", "a test", caller=operator, now=datetime.now(UTC)).token
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "en"}
    limits = httpx.Limits(
        max_connections=None, max_keepalive_connections=0
    )  # no connection that the server closes while it is used
    with httpx.Client(base_url=bare.start_api(), headers=headers, timeout=TIMEOUT_SECONDS, limits=limits) as client:
        yield client


def asked(api: httpx.Client, number: int) -> httpx.Response:
    """One request of several kinds: lists, a record, a decision."""
    decision = {"scope": "batch", "target": "7", "action": "flag", "reason": "cloning-suspected"}
    kinds: tuple[dict[str, Any], ...] = (
        {"method": "GET", "url": "/v1/batches"},
        {"method": "GET", "url": "/v1/products/09501101530003"},
        {"method": "POST", "url": "/v1/status-changes", "json": decision},
        {"method": "GET", "url": "/v1/notices"},
    )
    return api.request(**kinds[number % len(kinds)])


def test_a_frozen_database_makes_the_api_say_so_and_holds_nobody(bare: Installation, api: httpx.Client) -> None:
    """More requests than the API has threads and connections: each is answered with 503 and Retry-After.

    Meanwhile /healthz is 200 and /readyz says that there is no database; afterwards the API works as before.
    """
    assert asked(api, 0).status_code == 200
    with ThreadPoolExecutor(120) as clients, bare.frozen_postgres():
        answers = list(clients.map(lambda number: asked(api, number), range(120)))
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.headers["Retry-After"] for answer in answers} == {"5"}
        assert {answer.json()["type"] for answer in answers} == {"/problems/unavailable"}
        waiting = [clients.submit(asked, api, number) for number in range(100)]
        assert api.get("/healthz").status_code == 200
        readiness = api.get("/readyz")
        assert (readiness.status_code, readiness.json()) == (503, {"ready": False})
        assert {one.result().status_code for one in waiting} == {503}
    eventually(lambda: asked(api, 0).status_code == 200)
    assert api.get("/readyz").json() == {"ready": True}


# The disk -----------------------------------------------------------------------------------------------------


def test_a_full_disk_keeps_decisions_and_scans_out_whole_and_shows_what_is_there(world: Installation) -> None:
    """No file can grow: decisions are refused, scans wait in Redis, every scan is answered; afterwards all are stored."""
    placed = setting.settle(world.engine, datetime.now(UTC))
    world.fill_tables()
    asked = [setting.ask(Scope.CODE, f"{placed.item}:{index}", Action.REVOKE) for index in range(100)]
    with Load(world.ports, world.codes) as load:
        load.more()
        world.scans_drained()
        with world.full_disk():
            made = refused_from(world, asked)
            assert {response.verdict for response in load.more()} == {"verified", "revoked"}
            waiting = eventually(lambda: scans_waiting(world))
            load.more()
            assert scans_waiting(world) > waiting, "the worker cannot store them"
            assert decisions(world, placed.item) == made
        for request in asked[made : made + 3]:
            setting.decided(world.engine, setting.MAKER, datetime.now(UTC), request)
        load.more()
    assert decisions(world, placed.item) == made + 3
    assert audit.verify(world.engine).whole
    assert good(load.responses, world.revoked) == []
    eventually(lambda: world.count("scan", "city = ''") == len(load.responses), seconds=60)


def refused_from(world: Installation, asked: list[StatusRequest]) -> int:
    """The number of decisions that were recorded before one failed."""
    for number, request in enumerate(asked):
        try:
            setting.decided(world.engine, setting.MAKER, datetime.now(UTC), request)
        except Unavailable:
            return number
    raise AssertionError("the disk is not full")


def decisions(world: Installation, batch: int) -> int:
    """The number of decisions about items of a batch; checks that each has its audit entry and its card."""
    counts = {
        world.count("status_change"),
        world.count("audit", "action LIKE 'status.%'"),
        world.count("card", f"key LIKE 'x:{batch}:%'"),
    }
    assert len(counts) == 1
    return counts.pop()


def scans_waiting(world: Installation) -> int:
    """The entries of scans that Redis has."""
    return int(world.redis.llen(redis_keys.INBOX)) + int(world.redis.xlen(redis_keys.SCANS))
