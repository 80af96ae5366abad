"""Fixtures of the fault tests: worlds of their own, because what falls here takes everybody with it.

What does not fall (clients, clocks, limits) is tested on the servers that all tests share.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import world as making
from tests.faults.world import World


@pytest.fixture
def bare() -> Iterator[World]:
    """Servers of this test's own, with cards in them, and no process of ours."""
    with making.running() as found:
        yield found


@pytest.fixture
def world(bare: World) -> World:
    """The same with two scan processes and a worker, and nobody scanning yet."""
    bare.start_scans(2)
    bare.start_worker()
    return bare
