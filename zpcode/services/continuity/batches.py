"""Batches that a restored database lost, wholly or in part: recorded again where something outside Redis proves them.

A card in Redis describes a batch, and anybody who can write to Redis can write one. So a batch is recorded again only with its
code file: encrypted with a key of this installation, and with exactly the codes that the card describes. A card without such a file
is kept with the number of the lost batch, and enters nothing. For sealed batches the signer's log can prove the codes; then a person
compares what the log does not have, and the file is written again (`confirm_record`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.services.batches.issue import issue_detail
from zpcode.services.batches.reserve import audit_reserved
from zpcode.services.continuity import survey
from zpcode.services.continuity.proofs import Proofs
from zpcode.store import audit, batches, recovery, status
from zpcode.store.database.session import Connection
from zpcode.store.recovery_held import HeldActivation
from zpcode.wire.card import BatchCard, lot_key
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope


class RecoveredBatch(NamedTuple):
    """A batch and its outcome.

    `outcome` is `issued` (its record is written again), `finished` (it was reserved, and its file proves that it was issued),
    `conflict` (the database has other codes under this number), `signed` (the signer's log proves its codes: a person may confirm it),
    `unproven` (only Redis has a card of it), or `lost` (only its number is known). Codes of the last three cannot be confirmed.
    """

    number: int
    outcome: str


@dataclass(slots=True)
class BatchRecovery:
    """Records batches again within the transaction of a recovery.

    `lot_keys` are the lot cards that follow from them. `activations` are those that only Redis shows: they wait for a person.
    """

    connection: Connection
    proofs: Proofs
    base: str
    caller: Caller
    now: datetime
    lot_keys: list[str] = field(default_factory=list)
    activations: list[HeldActivation] = field(default_factory=list)

    def recover(self, former: Mapping[int, BatchCard]) -> list[RecoveredBatch]:
        """Record the batches with these former cards, as far as they are proven. The rest is left out."""
        recovered = []
        for number, card in sorted(former.items()):
            outcome = "" if card.lost else self._recover(card)
            if outcome:
                recovered.append(RecoveredBatch(number, outcome))
        return recovered

    def described(self, card: BatchCard) -> Batch | None:
        """The record that a card describes, reserved; None if its product is lost too."""
        owner = status.owner(self.connection, Scope.PRODUCT, card.gtin)
        if owner is None:
            return None
        return survey.batch_of(
            card, uscc=owner.uscc, region=owner.region, actor=self.caller.name, base=self.base, now=self.now
        )

    def _recover(self, card: BatchCard) -> str:
        present = batches.get(self.connection, card.number, lock=True)
        if present is None:
            return self._record(card)
        if (present.permutation_key, present.check_key, present.gtin) != (card.permutation_key, card.check_key, card.gtin):  # fmt: skip
            return "conflict"
        outcome = self._finish(present, card) if present.state is BatchState.RESERVED else ""
        if outcome or present.state is BatchState.ISSUED:
            self._hold_activation(card, present)
        return outcome

    def _record(self, card: BatchCard) -> str:
        """Write the record of a batch again; empty where no file proves it, or its product is lost too."""
        batch = self.described(card)
        proven = None if batch is None else self.proofs.file(batch)
        if proven is None:
            return ""
        new = survey.issued(proven.batch, proven.file, self.now)
        batches.add(self.connection, new)
        audit_reserved(self.connection, new, self.caller)
        self._issue(new)
        recovery.remove_lost(self.connection, new.number)
        self._hold_activation(card, new)
        self._follow(new)
        return new.state.value

    def _finish(self, present: Batch, card: BatchCard) -> str:
        """A batch that was reserved when the backup was made, and issued later: its record has the keys, its file proves the rest."""
        if present.sealed and not card.key_id:
            return ""
        proven = self.proofs.file(replace(present, key_id=card.key_id))
        if proven is None or (proven.batch.format, proven.batch.base) != (present.format, present.base):
            return ""
        issued = survey.issued(proven.batch, proven.file, self.now)
        at_once = present.activation is Activation.ON_ISSUE
        self._issue(replace(issued, activated_at=self.now if at_once else None))
        self._follow(present)
        return "finished"

    def _hold_activation(self, card: BatchCard, batch: Batch) -> None:
        """Only Redis says that a batch was activated: its codes would look better, so that waits for a person."""
        active = batch.activated_at is not None or batch.activation is Activation.ON_ISSUE
        if card.activated_at and not active:
            self.activations.append(HeldActivation(batch.number, datetime.fromtimestamp(card.activated_at, UTC)))

    def _issue(self, issued: Batch) -> None:
        audit.append(
            self.connection,
            at=self.now,
            actor=self.caller.name,
            action="batch.issue",
            object_=f"batch:{issued.number}",
            detail={**issue_detail(issued), "recovered": {"proof": "file"}},
        )
        batches.change(
            self.connection,
            issued.number,
            state=issued.state.value,
            key_id=issued.key_id,
            sha256=issued.sha256,
            bytes=issued.bytes,
            issued_at=issued.issued_at,
            activated_at=issued.activated_at,
            problem="",
        )

    def _follow(self, batch: Batch) -> None:
        if batch.level is Level.LOT:
            self.lot_keys.append(lot_key(batch.gtin, batch.lot))
