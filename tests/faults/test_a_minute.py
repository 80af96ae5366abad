"""Redis frozen for a minute in one world, PostgreSQL in another, at the same time: CI pays the minute once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.faults import world as making
from tests.faults.load import Load, firsts, good, neutral
from tests.faults.world import World

pytestmark = pytest.mark.proof

MINUTE = 60.0


@pytest.mark.timeout(400)
def test_a_minute_without_redis_and_a_minute_without_postgresql() -> None:
    """Everybody is answered all the time; what is revoked shows where there is a database to tell; then all is well."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(begun()) for _ in range(2))
        loads = [stack.enter_context(Load(each.ports, each.codes, pause=0.1)) for each in (one, other)]
        for load in loads:
            load.until_all_are_known()
        with one.frozen_valkey(), other.frozen_postgres():
            until = time.monotonic() + MINUTE
            fresh, seen = without_redis(one, loads[0])
            without_postgres(other, loads[1])
            time.sleep(max(0.0, until - time.monotonic()))
        for world, load in zip((one, other), loads, strict=True):
            world.until_all_stand_on("redis")
            world.scans_drained()
            load.more()
            assert good(load.told, world.revoked) == []
            assert max(firsts(load.told).values()) == 1
        late = other.revoke(1)
        loads[1].until_each(lambda told: told.path == late and told.verdict == "revoked")
    assert good(loads[0].since(seen), [fresh]) == []


@contextmanager
def begun() -> Iterator[World]:
    """A world with two scan processes and a worker."""
    with making.running() as world:
        world.start_scans(2)
        world.start_worker()
        yield world


def without_redis(world: World, load: Load) -> tuple[str, float]:
    """Answers come from the database, without histories, and a decision made now is seen; returns it and since when."""
    world.until_all_stand_on("database")
    fresh = world.revoke(0)
    seen = load.until_each(lambda told: told.path == fresh and told.verdict == "revoked")
    told = [one for one in load.more() if one.path != fresh]
    assert {one.verdict for one in told} == {"verified", "revoked"}
    assert {one.scans for one in told} == {None}
    return fresh, seen


def without_postgres(world: World, load: Load) -> None:
    """Warm codes as always, histories too; of a batch nobody has met nothing can be confirmed."""
    told = load.more()
    assert {one.verdict for one in told} == {"verified", "revoked"}
    assert all(one.scans for one in told)
    with Load(world.ports, [world.registry.item(index, 42) for index in range(10)], clients=1, pause=0.1) as newcomers:
        assert all(map(neutral, newcomers.more(20)))
    assert {world.stands_on(port) for port in world.ports} == {"redis"}
