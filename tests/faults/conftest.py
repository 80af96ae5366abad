"""Fixtures of the fault tests. A test that breaks a server has its own servers.

Tests of clients, clocks and limits break no server: they use the servers that all tests share.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import world as making
from tests.faults.world import Installation


@pytest.fixture
def bare() -> Iterator[Installation]:
    """The test's own servers, with cards in them; no process of the service runs yet."""
    with making.running() as running_world:
        yield running_world


@pytest.fixture
def world(bare: Installation) -> Installation:
    """The same with two scan processes and a worker; nobody scans yet."""
    bare.start_scans(2)
    bare.start_worker()
    return bare
