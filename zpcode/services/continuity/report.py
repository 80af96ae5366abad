"""What a recovery works with, and what it reports."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from keys.client import SigningService
from keys.keyring import Keyring
from zpcode.projection.client import AnyRedis
from zpcode.rules.access import Caller
from zpcode.rules.continuity import BehindEvidence, Marks
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.continuity.batches import RecoveredBatch
from zpcode.services.continuity.decisions import EnteredDecision
from zpcode.services.continuity.witnesses import Witness
from zpcode.store.database.session import Engine
from zpcode.store.recovery_held import HeldActivation, HeldDecision

DIGEST_DIGITS: Final = 32
"""Half of SHA-256: somebody who can write to Redis cannot make two findings with one digest (2^64 tries)."""


@dataclass(frozen=True, slots=True)
class RecoverySetting:
    """What a recovery works with. `base` is the address of codes whose file does not say it. `now` is aware.

    `without` names the witnesses that may be silent. A recovery that misses a witness may use its numbers again; `above` is
    then the highest batch number that may have been given, as far as people know. `even_so` confirms that more numbers are left
    out, or more decisions entered, than is plausible. `signer` reads its log, and writes files again; None if it is left out.
    """

    engine: Engine
    redis: AnyRedis
    exports: CodeFolder
    witnesses: Sequence[Witness]
    keyring: Callable[[], Keyring]
    base: str
    caller: Caller
    now: datetime
    without: Collection[str] = ()
    above: int = 0
    even_so: bool = False
    signer: SigningService | None = None


@dataclass(slots=True)
class RecoveryReport:
    """What a recovery would do, or has done.

    `evidence` says in what the database was behind; without any nothing was done. `lost_entries` are the first and last
    number of audit entries that are lost, (1, 0) if none is. `unproven` are cards of Redis that no record of the database
    explains and that were not entered again. `kept` are the product cards of Redis that the registry does not give, by key: until the
    registry is imported again, nothing is shown better than they have it. `activations` and `waiting` wait for a person.
    `uncertain_since` is the time (aware) of the last entry of the audit log that is left, if Redis does not know all that
    came later: such decisions may be missing, and nobody can prove them. `uncertain_entries` are the first and last number of
    audit entries that Redis does not know, (1, 0) if none is. `number` is that of the recovery, 0 before it is applied.
    """

    evidence: tuple[BehindEvidence, ...] = ()
    known: Marks = Marks()  # noqa: RUF009 - frozen
    lost_entries: tuple[int, int] = (1, 0)
    batches: list[RecoveredBatch] = field(default_factory=list)
    decisions: list[EnteredDecision] = field(default_factory=list)
    activations: list[HeldActivation] = field(default_factory=list)
    waiting: list[HeldDecision] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    uncertain_since: datetime | None = None
    uncertain_entries: tuple[int, int] = (1, 0)
    number: int = 0

    @property
    def digest(self) -> str:
        """A digest of all that is entered, 32 hex digits: two reports with the same one do the same. Times of the run do not count."""
        entered = [
            (one.change.scope, one.change.target, one.change.first, one.change.last, one.change.state, one.claim)
            for one in self.decisions
        ]
        waiting = [one[:-1] for one in self.waiting]
        what = (
            self.known, self.lost_entries, self.batches, entered, self.activations, waiting, self.unproven, sorted(self.kept.items()),
            self.uncertain_entries,
        )  # fmt: skip
        return hashlib.sha256(msgspec.json.encode(what)).hexdigest()[:DIGEST_DIGITS]
