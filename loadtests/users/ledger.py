"""Which codes and batches are being withdrawn, or have been: what virtual consumers need to check an answer.

The virtual regulator announces a decision before it and after it. With Locust on many machines the announcement uses
Locust's connection, so it may arrive late but never early. Therefore the regulator waits `DELIVERY_SECONDS` around a
change.
"""

from __future__ import annotations

from typing import Final

from loadtests.users.verdicts import ScanKind

DELIVERY_SECONDS: Final = 0.5


class Ledger:
    """The kind of each subject: a path, or `RECALLED` for the batch that is recalled."""

    def __init__(self) -> None:
        self._kinds: dict[str, ScanKind] = {}

    def announce(self, subject: str, kind: ScanKind) -> None:
        """Set the kind of a subject."""
        if kind is ScanKind.GENUINE:
            self._kinds.pop(subject, None)
        else:
            self._kinds[subject] = kind

    def of(self, *subjects: str) -> ScanKind:
        """The kind of a code, from the first of its subjects (path, batch) that has an entry."""
        for subject in subjects:
            if subject in self._kinds:
                return self._kinds[subject]
        return ScanKind.GENUINE


RECALLED: Final = "section:recall"
