"""How often a gate asks a witness and looks up a batch, and what of the first evidence stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine

from zpcode.errors import Text, Unavailable
from zpcode.rules.continuity import BehindEvidence, Marks
from zpcode.services.continuity import witnesses
from zpcode.services.continuity.gate import PAUSE_SECONDS, RECORDED_SECONDS, ContinuityGate
from zpcode.store import continuity, recovery
from zpcode.store.database.session import transaction
from zpcode.wire.payload import MAX_BATCH

NUMBER: Final = 3
NOW: Final = datetime(2026, 11, 30, 4, 0, tzinfo=UTC)


@dataclass
class CountedWitness:
    """A witness that gives these testimonies one after the other, the last one for ever; None: it does not answer."""

    testimonies: Sequence[witnesses.Testimony | None]
    lasts: float = 0.0
    name: str = "files"
    asked: int = field(default=0, init=False)

    def read(self) -> witnesses.Testimony:
        """The next testimony."""
        testimony = self.testimonies[min(self.asked, len(self.testimonies) - 1)]
        self.asked += 1
        if testimony is None:
            raise Unavailable(Text("没有应答", "it does not answer"))
        return testimony


class ManualClock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The seconds."""
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    """The clock of the gate."""
    return ManualClock()


def test_a_silent_witness_is_asked_again_after_a_pause(engine: Engine, clock: ManualClock) -> None:
    """Each question may take as long as its timeout: a decision does not wait for it every time."""
    witness = CountedWitness([None])
    gate = ContinuityGate(engine, [witness], monotonic=clock)
    for _ in range(3):
        gate.compare()
    assert witness.asked == 1
    clock.now += PAUSE_SECONDS
    gate.compare()
    assert witness.asked == 2
    gate.stale()
    gate.compare()
    assert witness.asked == 3


def test_a_testimony_lasts_as_long_as_its_witness_says(engine: Engine, clock: ManualClock) -> None:
    witness = CountedWitness([witnesses.Testimony(), None], lasts=5.0)
    gate = ContinuityGate(engine, [witness], monotonic=clock)
    gate.compare()
    clock.now += 4.9
    gate.compare()
    assert witness.asked == 1
    clock.now += 0.1
    gate.compare()
    assert witness.asked == 2
    gate.require_witness()  # what it said before stays valid


def test_a_recorded_batch_is_looked_up_again_after_a_minute(engine: Engine, clock: ManualClock) -> None:
    with transaction(engine) as connection:
        recovery.move_sequences(connection, Marks(batch=NUMBER))
        recovery.add_lost(connection, [NUMBER], 1, {})
    gate = ContinuityGate(
        engine, [CountedWitness([witnesses.Testimony(files=(NUMBER,), signed=(NUMBER,))])], monotonic=clock
    )
    assert gate.compare() == ()
    with transaction(engine) as connection:
        recovery.remove_lost(connection, NUMBER)
    clock.now += RECORDED_SECONDS - 0.1
    assert gate.compare() == ()
    clock.now += 0.1
    assert [(one.kind, one.value) for one in gate.compare()] == [("file", "3"), ("signed", "3")]


def test_the_first_evidence_stays(engine: Engine) -> None:
    """Two processes may find the database behind at the same time."""
    first, second = (BehindEvidence("redis", "revision", value, "1") for value in ("7", "9"))
    with transaction(engine) as connection:
        continuity.record_behind(connection, [first], NOW)
        continuity.record_behind(connection, [second], NOW)
        assert continuity.marks(connection).evidence == (first,)


def test_a_name_with_a_number_that_no_batch_has_is_no_code_files(tmp_path: Path) -> None:
    names = (
        "batch-0.csv",
        "batch-7.csv",
        f"batch-{MAX_BATCH}.csv.part",
        f"batch-{MAX_BATCH + 1}.csv",
        "batch-8",
        "7.csv",
    )
    for name in names:
        (tmp_path / name).touch()
    assert list(witnesses.numbers_of(tmp_path)) == [7, MAX_BATCH]
