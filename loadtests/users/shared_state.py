"""What the virtual users of one process share: the sample, the ledger of decisions, and the tally."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests.load.sample import Keys, Sample
from loadtests.load.tally import Tally
from loadtests.users.ledger import Ledger
from loadtests.users.verdicts import Answer, ScanKind

ANNOUNCEMENT: Final = "announcement"  # the Locust message that takes an entry of the ledger to all processes


@dataclass(slots=True)
class SharedState:
    """What the virtual users of one process share. `runner` sends announcements to other processes."""

    sample: Sample
    keys: Keys
    runner: Any
    api: str = ""
    seconds: float = 1.0
    ledger: Ledger = field(default_factory=Ledger)
    tally: Tally = field(default_factory=Tally)
    began: float = 0.0

    def record(self, role: str, kind: str, answer: Answer, milliseconds: float, *, right: bool) -> None:
        """Count one answer."""
        self.tally.record(role, kind, answer, at=time.time(), milliseconds=milliseconds, right=right)

    def announce(self, subject: str, kind: ScanKind) -> None:
        """Write an entry into the ledger of this process at once, and send it to all other processes."""
        self.ledger.announce(subject, kind)
        self.runner.send_message(ANNOUNCEMENT, [subject, kind.value])

    @property
    def progress(self) -> float:
        """The elapsed part of the run, 0 … 1."""
        return (time.monotonic() - self.began) / self.seconds
