"""The attacks against a running demo. `make attack` runs the same and prints what was tried."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.catalogue import ATTACKS, Attack
from tests.attack.target import Target
from tests.e2e.demo_running import demo

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """One demo for all attacks."""
    with tempfile.TemporaryDirectory(prefix="zpcode-attack-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user enters it
        with demo(Path(folder), 20601) as running:
            yield Target(running)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_no_try_gets_through(attack: Attack, target: Target) -> None:
    attempts = list(attack.run(target))
    assert len(attempts) >= 4, "an attack that tries nothing shows nothing"
    assert [f"{attempt.name}: {attempt.breach}" for attempt in attempts if attempt.breach] == []
