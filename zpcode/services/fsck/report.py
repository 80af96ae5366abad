"""What a check is about, what it found, and what all of them found together."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

from zpcode.errors import Finding, Text

SHOWN: Final = 50
"""Findings that are told of each invariant; more are only counted."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """Something that always holds. `name` is stable, `remedy` says what to do where it does not."""

    name: str
    title: Text
    remedy: Text


class InvariantState(enum.StrEnum):
    """Whether an invariant holds, held once repaired, does not hold, or could not be looked at."""

    HOLDS = "holds"
    REPAIRED = "repaired"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class CheckResult:
    """One invariant while and after it is checked. `examined` counts what was looked at, whatever that is.

    `wrong` counts all findings, of which the first 50 are in `findings`; `mended` those that were put right, told
    in `repairs`. `hindrance` says why it could not be looked at.
    """

    invariant: Invariant
    examined: int = 0
    wrong: int = 0
    mended: int = 0
    findings: list[Finding] = field(default_factory=list)
    repairs: list[Text] = field(default_factory=list)
    hindrance: Text | None = None

    def find(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Note one thing that is wrong: where, and what stood there."""
        self.wrong += 1
        if len(self.findings) < SHOWN:
            self.findings.append(Finding(reason, Text(zh, en), where, None if value is None else str(value)[:80]))

    def mend(self, zh: str, en: str, *, count: int = 1) -> None:
        """Note that so many findings have been put right."""
        self.mended += count
        if len(self.repairs) < SHOWN:
            self.repairs.append(Text(zh, en))

    @property
    def state(self) -> InvariantState:
        """What all that comes to."""
        if self.wrong > self.mended:
            return InvariantState.BROKEN
        if self.hindrance is not None:
            return InvariantState.UNKNOWN
        return InvariantState.REPAIRED if self.wrong else InvariantState.HOLDS


@dataclass(frozen=True, slots=True)
class FsckReport:
    """Every invariant that was asked for, in order."""

    outcomes: tuple[CheckResult, ...]

    @property
    def whole(self) -> bool:
        """Whether all of them hold now."""
        return all(outcome.state in {InvariantState.HOLDS, InvariantState.REPAIRED} for outcome in self.outcomes)

    def of(self, name: str) -> CheckResult:
        """The outcome of one invariant. Raises StopIteration where it was not asked for."""
        return next(outcome for outcome in self.outcomes if outcome.invariant.name == name)
