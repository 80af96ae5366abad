"""Batches that a restored database lost, wholly or in part: recorded again where card and file prove them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from keys.keyring import Keyring
from zpcode.rules.access import Caller
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue_detail
from zpcode.services.batches.reserve import audit_reserved
from zpcode.services.continuity import survey
from zpcode.services.continuity.proven_files import prove
from zpcode.store import audit, batches, recovery, status
from zpcode.store.database.session import Connection
from zpcode.wire.card import BatchCard, lot_key
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Scope


@dataclass(frozen=True, slots=True)
class RecoveredBatch:
    """A batch and its outcome.

    `outcome` is `issued` or `reserved` (its record is written again), `finished` (it was reserved, and its file proves that
    it was issued), `activated` (only that was lost), `conflict` (the database has other codes under this number), or
    `lost` (its codes cannot be confirmed).
    """

    number: int
    outcome: str


@dataclass(slots=True)
class BatchRecovery:
    """Records batches again within the transaction of a recovery. `lot_keys` are the lot cards that follow from them."""

    connection: Connection
    exports: CodeFolder
    keyring: Callable[[], Keyring]
    base: str
    caller: Caller
    now: datetime
    lot_keys: list[str] = field(default_factory=list)

    def recover(self, former: Mapping[int, bytes]) -> list[RecoveredBatch]:
        """Record the batches with these former cards, as far as they are proven. The rest is left out."""
        recovered = []
        for number, body in sorted(former.items()):
            card = survey.decode_batch(body)
            outcome = "" if card is None or card.number != number or card.lost else self._recover(card)
            if outcome:
                recovered.append(RecoveredBatch(number, outcome))
        return recovered

    def _recover(self, card: BatchCard) -> str:
        present = batches.get(self.connection, card.number, lock=True)
        if present is None:
            return self._record(card)
        if (present.permutation_key, present.check_key, present.gtin) != (card.permutation_key, card.check_key, card.gtin):  # fmt: skip
            return "conflict"
        if present.state is BatchState.RESERVED:
            return self._finish(present, card)
        return self._activate(present, card)

    def _record(self, card: BatchCard) -> str:
        """Write the record of a batch again; empty where it is not proven, or its product is lost too."""
        owner = status.owner(self.connection, Scope.PRODUCT, card.gtin)
        if owner is None:
            return ""
        batch = survey.batch_of(
            card, uscc=owner.uscc, region=owner.region, actor=self.caller.name, base=self.base, now=self.now
        )
        proven = prove(batch, self.exports, self.keyring)
        if proven is None and (card.key_id or card.activated_at):
            return ""
        new = batch if proven is None else survey.issued(proven.batch, proven.file, card, self.now)
        if proven is None:
            new = replace(new, key_id="")
        batches.add(self.connection, new)
        audit_reserved(self.connection, new, self.caller)
        if proven is not None:
            self._issue(new)
        recovery.remove_lost(self.connection, new.number)
        self._follow(new)
        return new.state.value

    def _finish(self, present: Batch, card: BatchCard) -> str:
        """A batch that was reserved when the backup was made, and issued later."""
        if not (card.key_id or card.activated_at):
            return ""
        proven = prove(replace(present, key_id=card.key_id), self.exports, self.keyring)
        if proven is None or (proven.batch.format, proven.batch.base) != (present.format, present.base):
            return ""
        self._issue(survey.issued(proven.batch, proven.file, card, self.now))
        self._follow(present)
        return "finished"

    def _activate(self, present: Batch, card: BatchCard) -> str:
        if present.activated_at is not None or not card.activated_at:
            return ""
        activated = datetime.fromtimestamp(card.activated_at, UTC)
        audit.append(
            self.connection,
            at=self.now,
            actor=self.caller.name,
            action="batch.activate",
            object_=f"batch:{present.number}",
            detail={"recovered": True},
        )
        batches.change(self.connection, present.number, activated_at=activated)
        self._follow(present)
        return "activated"

    def _issue(self, issued: Batch) -> None:
        audit.append(
            self.connection,
            at=self.now,
            actor=self.caller.name,
            action="batch.issue",
            object_=f"batch:{issued.number}",
            detail=issue_detail(issued),
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
