"""What the virtual consumers of a run know of decisions: which codes and batches are being, or have been, withdrawn.

Whoever decides announces it before and after; with Locust on many machines the announcement travels over Locust's
own connection, so it may reach a machine late, never early. Hence the pauses (`HEARD_SECONDS`) around a change.
"""

from __future__ import annotations

from typing import Final

from loadtests.users.verdicts import What

HEARD_SECONDS: Final = 0.5


class Ledger:
    """What is known of each subject: a path, or `RECALLED`, the batch of the section that is recalled."""

    def __init__(self) -> None:
        self._known: dict[str, What] = {}

    def announce(self, subject: str, what: What) -> None:
        """From now on this is known."""
        if what is What.GENUINE:
            self._known.pop(subject, None)
        else:
            self._known[subject] = what

    def of(self, *subjects: str) -> What:
        """What a code is whose path and batch these are: of several the first that was decided about."""
        for subject in subjects:
            if subject in self._known:
                return self._known[subject]
        return What.GENUINE


RECALLED: Final = "section:recall"
