"""Redis is frozen for a minute in one world, PostgreSQL in another, at the same time, so that the suite waits only once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults import world as making
from tests.faults.load import Load, firsts, good, neutral
from tests.faults.world import Installation

pytestmark = pytest.mark.proof

MINUTE = 60.0


@pytest.mark.timeout(400)
def test_a_minute_without_redis_and_a_minute_without_postgresql() -> None:
    """Every scan is answered; a revocation shows where the database is reachable; afterwards everything works as before."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(begun()) for _ in range(2))
        loads = [stack.enter_context(Load(each.ports, each.codes, pause=0.1)) for each in (one, other)]
        for load in loads:
            load.until_all_are_answered()
        with one.frozen_valkey(), other.frozen_postgres():
            until = time.monotonic() + MINUTE
            fresh, revoked_since = without_redis(one, loads[0])
            without_postgres(other, loads[1])
            time.sleep(max(0.0, until - time.monotonic()))
        for world, load in zip((one, other), loads, strict=True):
            world.until_all_stand_on("redis")
            world.scans_drained()
            load.more()
            assert good(load.responses, world.revoked) == []
            assert max(firsts(load.responses).values()) == 1
        late = other.revoke(1)
        loads[1].until_each(lambda response: response.path == late and response.verdict == "revoked")
    assert good(loads[0].since(revoked_since), [fresh]) == []


@contextmanager
def begun() -> Iterator[Installation]:
    """A world with two scan processes and a worker."""
    with making.running() as world:
        world.start_scans(2)
        world.start_worker()
        yield world


def without_redis(world: Installation, load: Load) -> tuple[str, float]:
    """Answers come from the database, without histories, and a new revocation shows; returns the revoked code and the moment since when it shows."""
    world.until_all_stand_on("database")
    fresh = world.revoke(0)
    revoked_since = load.until_each(lambda response: response.path == fresh and response.verdict == "revoked")
    responses = [one for one in load.more() if one.path != fresh]
    assert {one.verdict for one in responses} == {"verified", "revoked"}
    assert {one.scans for one in responses} == {None}
    return fresh, revoked_since


def without_postgres(world: Installation, load: Load) -> None:
    """Codes in memory are answered as always, with their histories; a code of a batch not yet read is unconfirmed."""
    responses = load.more()
    assert {response.verdict for response in responses} == {"verified", "revoked"}
    assert all(response.scans for response in responses)
    with Load(world.ports, [world.registry.item(index, 42) for index in range(10)], clients=1, pause=0.1) as newcomers:
        assert all(map(neutral, newcomers.more(20)))
    assert {world.stands_on(port) for port in world.ports} == {"redis"}
