"""What a recovery works with, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keys.keyring import Keyring
from zpcode.projection.client import AnyRedis
from zpcode.rules.access import Caller
from zpcode.rules.continuity import BehindEvidence, Marks
from zpcode.rules.status.permissions import StatusChange
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.continuity.batches import RecoveredBatch
from zpcode.services.continuity.witnesses import Witness
from zpcode.store.database.session import Engine
from zpcode.store.recovery import HeldDecision


@dataclass(frozen=True, slots=True)
class RecoverySetting:
    """What a recovery works with. `base` is the address of codes whose file does not say it. `now` is aware.

    `without` names the witnesses that may be silent. A recovery that misses a witness may use its numbers again; `above` is
    then the highest batch number that may have been given, as far as people know. `even_so` confirms that more numbers are left
    out than is plausible.
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


@dataclass(slots=True)
class RecoveryReport:
    """What a recovery found and did.

    `evidence` says in what the database was behind; without any nothing was done. `lost_entries` are the first and last
    number of audit entries that are lost, (1, 0) if none is. `unproven` are cards of Redis that no record of the database
    explains and that were not entered again. `kept` are product cards that stay as Redis had them until the registry is imported
    again. `uncertain_since` is the time (aware) of the last entry of the audit log that is left, if Redis does not know all that
    came later: such decisions may be missing, and nobody can prove them. `uncertain_entries` are the first and last number of
    audit entries that Redis does not know, (1, 0) if none is. `number` is that of the recovery, 0 before it is applied.
    """

    evidence: tuple[BehindEvidence, ...] = ()
    known: Marks = Marks()  # noqa: RUF009 - frozen
    lost_entries: tuple[int, int] = (1, 0)
    batches: list[RecoveredBatch] = field(default_factory=list)
    decisions: list[StatusChange] = field(default_factory=list)
    unconfirmed: list[HeldDecision] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    uncertain_since: datetime | None = None
    uncertain_entries: tuple[int, int] = (1, 0)
    number: int = 0
