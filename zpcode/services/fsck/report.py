"""An invariant, the result of its check, and the report of all checks."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from zpcode.errors import Finding, Text

SHOWN: Final = 50
"""The most findings reported of one invariant; further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule that must always hold. `name` is stable; `remedy` says what to do if it does not hold."""

    name: str
    title: Text
    remedy: Text


class InvariantState(enum.StrEnum):
    """Whether an invariant holds, holds after a repair, does not hold, or could not be checked."""

    HOLDS = "holds"
    REPAIRED = "repaired"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class CheckResult:
    """The result of one check. `examined` is the number of checked objects.

    `wrong` is the number of findings; the first 50 are in `findings`. `repaired` is the number of repaired findings;
    `repairs` describes the first 50. `obstacle` says why the invariant could not be checked. `advice` replaces the
    invariant's remedy.
    """

    invariant: Invariant
    examined: int = 0
    wrong: int = 0
    repaired: int = 0
    findings: list[Finding] = field(default_factory=list)
    repairs: list[Text] = field(default_factory=list)
    obstacle: Text | None = None
    advice: Text | None = None

    @property
    def remedy(self) -> Text:
        """What to do if the invariant does not hold."""
        return self.invariant.remedy if self.advice is None else self.advice

    def find(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Add a finding: where it is, and the wrong value."""
        self.wrong += 1
        if len(self.findings) < SHOWN:
            self.findings.append(Finding(reason, Text(zh, en), where, None if value is None else str(value)[:80]))

    def add_repair(self, zh: str, en: str, *, count: int = 1) -> None:
        """Record that `count` findings were repaired."""
        self.repaired += count
        if len(self.repairs) < SHOWN:
            self.repairs.append(Text(zh, en))

    @property
    def state(self) -> InvariantState:
        """The state of the invariant after the check."""
        if self.wrong > self.repaired:
            return InvariantState.BROKEN
        if self.obstacle is not None:
            return InvariantState.UNKNOWN
        return InvariantState.REPAIRED if self.wrong else InvariantState.HOLDS


@dataclass(frozen=True, slots=True)
class FsckReport:
    """The results of the checked invariants, in order."""

    outcomes: tuple[CheckResult, ...]

    @property
    def whole(self) -> bool:
        """Whether all invariants hold now."""
        return all(outcome.state in {InvariantState.HOLDS, InvariantState.REPAIRED} for outcome in self.outcomes)

    def of(self, name: str) -> CheckResult:
        """The result for one invariant. Raises StopIteration if it was not checked."""
        return next(outcome for outcome in self.outcomes if outcome.invariant.name == name)
