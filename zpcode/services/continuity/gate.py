"""The gate: no number, audit entry or card is made in a database that is behind (docs/recovery.md).

Each process has one. In every transaction that writes, before the first number is taken, it asks the witnesses, then
reads the marks of that very session and compares. So it does not matter how a database was replaced: by a restart, by a
failover, or behind a pooler without any new connection. What this process itself has read before is a witness too.

A gate that finds the database behind records that in it. Then the evidence stays if a witness is emptied later, every other
process refuses too, and the scan service does not believe the cards of this database any more. `zpcode recover` removes
the record; no process has to be restarted.

While any witness disagrees, also a damaged one, nothing in Redis is repaired. So the gate records that too, for as long as
it lasts: scans then show the graver of what Redis and the database have.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from zpcode.errors import Text, Unavailable
from zpcode.projection.heads import refusal
from zpcode.rules.continuity import (
    BehindEvidence,
    DatabaseMarks,
    Marks,
    behind,
    files_without_batch,
    foreign,
    signed_without_batch,
    unreadable,
)
from zpcode.services.continuity.witnesses import Testimony, Witness
from zpcode.store import continuity
from zpcode.store.database.session import Connection, Engine, transaction

PAUSE_SECONDS: Final = 1.0
"""For how long a witness that did not answer is not asked again."""
RECORDED_SECONDS: Final = 60.0
"""For how long a batch that was in the database counts as recorded. If the database goes back meanwhile, its marks show it."""
_UNWITNESSED: Final = Text(
    "缓存、码文件目录与签名服务都没有应答，无从核对批次序号；请稍后再试",
    "neither Redis nor the folder of code files nor the signer answers, so a new batch number cannot be compared with "
    "earlier ones; try again shortly",
)
_LOGGED: Final = 20
_logger = logging.getLogger(__name__)


class ContinuityGate:
    """The gate of one process. Safe for threads. `monotonic` gives seconds, `clock` aware times."""

    def __init__(
        self,
        engine: Engine,
        witnesses: Sequence[Witness],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._engine, self._witnesses = engine, witnesses
        self._monotonic, self._clock = monotonic, clock
        self._testimonies: dict[str, Testimony] = {}
        self._due: dict[str, float] = {}
        self._own = Marks()
        self._lock = threading.Lock()
        self._recorded: frozenset[int] = frozenset()
        self._recorded_until = float("-inf")
        self.evidence: tuple[BehindEvidence, ...] = ()
        """Why the database was found behind in the last comparison; empty if it was not."""
        self.unproven_files: frozenset[int] = frozenset()
        """The batches that the database does not have, and of which the folder has files that this installation has not begun."""

    def install(self) -> None:
        """Make every writing transaction of the engine pass this gate."""
        continuity.install(self._engine, self)

    def stale(self) -> None:
        """Ask every witness again, also those whose last testimony would last."""
        self._due.clear()
        self._recorded_until = float("-inf")

    def check(self, connection: Connection, *, number: bool) -> None:
        """Compare the database of this session with every witness. Raises DatabaseBehind.

        `number`: a batch number is about to be drawn. It needs a witness: raises Unavailable if none has ever answered.
        Decisions do not, because what protects people never waits.
        """
        self._ask()
        if number:
            self.require_witness()
        if proofs := self._compare(connection):
            raise refusal(proofs)

    def require_witness(self) -> None:
        """Raise Unavailable if no witness has ever answered this process."""
        if not self._testimonies:
            raise Unavailable(_UNWITNESSED)

    def compare(self) -> tuple[BehindEvidence, ...]:
        """Compare now; returns in what the database is behind, nothing if it is not. Raises Unavailable."""
        self._ask()
        with transaction(self._engine) as connection:
            return self._compare(connection)

    def _ask(self) -> None:
        """Ask the witnesses whose testimony does not last any more."""
        for witness in self._witnesses:
            if self._monotonic() < self._due.get(witness.name, float("-inf")):
                continue
            try:
                self._testimonies[witness.name] = witness.read()
                wait = witness.lasts
            except Unavailable:
                wait = max(witness.lasts, PAUSE_SECONDS)
            self._due[witness.name] = self._monotonic() + wait

    def _compare(self, connection: Connection) -> tuple[BehindEvidence, ...]:
        with self._lock:
            own, testimonies = self._own, dict(self._testimonies)
        asked = [*(one for testimony in testimonies.values() for one in testimony.marks), own]
        database = continuity.marks(connection, {marks.audit for marks in asked if marks.audit_hash})
        proofs = list(database.evidence)
        for name, said in testimonies.items():
            testimony = said.without_forged(connection, database)
            proofs += unreadable(name, testimony.damage)
            proofs += [proof for marks in testimony.marks for proof in behind(name, marks, database)]
            proofs += self._without_batch(connection, testimony, database)
        if own.recoveries == database.reached.recoveries:  # a recovery has settled what was before it
            proofs += behind("process", own, database)
        return self._conclude(tuple(dict.fromkeys(proofs)), database)

    def _without_batch(
        self, connection: Connection, testimony: Testimony, database: DatabaseMarks
    ) -> list[BehindEvidence]:
        """The files and signed codes without a batch. A batch is looked up once a minute: a folder has thousands of files."""
        if self._monotonic() >= self._recorded_until:
            self._recorded, self._recorded_until = frozenset(), self._monotonic() + RECORDED_SECONDS
        unknown = {*testimony.files, *testimony.signed} - self._recorded
        if not unknown:
            self._note_unproven(testimony, set())
            return []
        existing = continuity.batches_with_record(connection, unknown)
        self._recorded |= existing
        files = unknown & {*testimony.files}
        unproven = testimony.unproven_files(files - existing, connection, database)
        self._note_unproven(testimony, unproven)
        return [
            *files_without_batch(files - unproven, existing),
            *signed_without_batch(unknown & {*testimony.signed}, existing),
        ]

    def _note_unproven(self, testimony: Testimony, numbers: set[int]) -> None:
        """Count the batches without a record of which somebody else has put a file into the folder, and log them once."""
        if testimony.files:
            if new := sorted(numbers - self.unproven_files)[:_LOGGED]:
                _logger.error("code files of no batch are not of this installation", extra={"batches": new})
            self.unproven_files = frozenset(numbers)

    def _conclude(self, proofs: tuple[BehindEvidence, ...], database: DatabaseMarks) -> tuple[BehindEvidence, ...]:
        """Remember a database that is not behind; record one that is, and log it once."""
        if not proofs:
            self._remember(database.reached)
        elif not self.evidence:
            for one in proofs:
                _logger.error("the database is behind", extra={"evidence": one.text.en})
        lasting = tuple(one for one in proofs if one.kind != "damaged")
        if lasting and not database.evidence and not foreign(lasting):
            self._record(lasting)
        if bool(proofs) != database.doubted:
            self._record_doubt(doubted=bool(proofs))
        if self.evidence and not proofs:
            _logger.info("the database is not behind any more")
        self.evidence = proofs
        return proofs

    def _remember(self, marks: Marks) -> None:
        """Remember what no transaction under way has changed: it comes here before its first card and audit entry."""
        with self._lock:
            own = self._own
            if (marks.recoveries, marks.audit, marks.revision) >= (own.recoveries, own.audit, own.revision):
                self._own = Marks(
                    marks.installation,
                    marks.recoveries,
                    marks.revision,
                    audit=marks.audit,
                    audit_hash=marks.audit_hash,
                )

    def _record_doubt(self, *, doubted: bool) -> None:
        with suppress(Unavailable), transaction(self._engine) as connection:
            continuity.record_doubt(connection, self._clock() if doubted else None)

    def _record(self, proofs: tuple[BehindEvidence, ...]) -> None:
        with suppress(Unavailable), transaction(self._engine) as connection:
            continuity.record_behind(connection, proofs, self._clock())
