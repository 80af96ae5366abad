"""What the virtual users of one process have in common: the sample, what is known of decisions, and what was counted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final

from loadtests.load.sample import Keys, Sample
from loadtests.load.tally import Tally
from loadtests.users.ledger import Ledger
from loadtests.users.verdicts import Said, What

KNOWN: Final = "known"  # the message by which the users of all processes learn of decisions


@dataclass(slots=True)
class Stage:
    """What the users of one process have in common. `runner` carries announcements to other machines."""

    sample: Sample
    keys: Keys
    runner: Any
    api: str = ""
    seconds: float = 1.0
    ledger: Ledger = field(default_factory=Ledger)
    tally: Tally = field(default_factory=Tally)
    began: float = 0.0

    def note(self, who: str, what: str, told: Said, milliseconds: float, *, right: bool) -> None:
        """Count one answer."""
        self.tally.note(who, what, told, at=time.time(), milliseconds=milliseconds, right=right)

    def tell(self, subject: str, what: What) -> None:
        """Announce what is known of a code from now on: here at once, everywhere else as fast as messages go."""
        self.ledger.announce(subject, what)
        self.runner.send_message(KNOWN, [subject, what.value])

    @property
    def progress(self) -> float:
        """How much of the run is over, 0 … 1."""
        return (time.monotonic() - self.began) / self.seconds
