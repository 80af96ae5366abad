"""Enters again what a restored database lost and something proves, and records what nobody can prove.

Batches come first, then the decisions about them, then product cards. What only Redis says is not entered as a fact: it waits for a
person, or it makes what the service shows graver, never better.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from zpcode.rules.cards import former_card, kept_card
from zpcode.rules.continuity import DatabaseMarks
from zpcode.services.continuity import refusals, survey
from zpcode.services.continuity.batches import BatchRecovery, RecoveredBatch
from zpcode.services.continuity.decisions import DecisionRecovery
from zpcode.services.continuity.proofs import Proofs
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.services.continuity.survey import ReadCards
from zpcode.services.registry.product_cards import product_cards
from zpcode.store import continuity, recovery, recovery_held
from zpcode.store.database.session import Connection
from zpcode.wire.calendar import today
from zpcode.wire.card import BatchCard, batch_key, notices_key, product_key
from zpcode.wire.payload import MAX_BATCH

SIGNED: Final = "signed"
LOST: Final = "lost"


@dataclass(slots=True)
class Reentry:
    """One entering, within the transaction of a recovery. What it does goes into `report`."""

    connection: Connection
    setting: RecoverySetting
    proofs: Proofs
    cards: ReadCards
    report: RecoveryReport

    def enter(self, numbers: Collection[int], database: DatabaseMarks) -> list[str]:
        """Enter everything; returns the keys of the cards that follow, without those of lost numbers.

        `numbers` may have codes: they are in the names of code files, in the signer's log, or in recorded evidence.
        """
        connection, report = self.connection, self.report
        former = self._lost_cards() | {card.number: card for card in self.cards.batches.values()}
        lot_keys = self._record(former)
        self._record_lost({*numbers, *former}, former, database)
        decisions = DecisionRecovery(connection, self.setting.caller, self.setting.now)
        decisions.recover(self.cards)
        refusals.require_plausible_decisions(self.setting, len(decisions.entered))
        report.decisions, report.waiting = decisions.entered, decisions.waiting
        recovery_held.hold_decisions(connection, report.waiting, report.number)
        report.kept = self._keep_products()
        products = [product_key(gtin) for gtin in self.cards.products]
        recorded = [batch_key(one.number) for one in report.batches if one.outcome != LOST]
        keys = [*products, *recorded, *decisions.keys, *lot_keys]
        report.unproven = sorted(self.cards.newer.keys() - set(keys) - {notices_key()} - decisions.settled)
        return keys

    def record_lost(self) -> list[str]:
        """Record the lost batches that are proven now: a file was found again, or a product was imported again.

        Returns the keys of the cards that follow.
        """
        self.report.number = continuity.marks(self.connection).assigned.recoveries
        former = self._lost_cards()
        lot_keys = self._record(former)
        keys = [batch_key(one.number) for one in self.report.batches]
        signed, before = self._signed(former), recovery.signed_batches(self.connection)
        if signed is not None:
            recovery.mark_signed(self.connection, signed)
            self.report.batches += [RecoveredBatch(number, SIGNED) for number in sorted(signed - before.keys())]
        return [*keys, *lot_keys]

    def _lost_cards(self) -> dict[int, BatchCard]:
        """The cards that earlier recoveries kept of lost batches, by number."""
        bodies = {number: body for number, body in recovery.lost_batches(self.connection).items() if body is not None}
        cards = {n: survey.decode_batch(batch_key(n), body, self.setting.now) for n, body in bodies.items()}
        return {number: card for number, card in cards.items() if card is not None}

    def _record(self, former: Mapping[int, BatchCard]) -> list[str]:
        """Record the batches that their files prove; their activations wait. Returns the keys of lot cards."""
        batches = BatchRecovery(self.connection, self.proofs, self.setting.base, self.setting.caller, self.setting.now)
        self.report.batches = batches.recover(former)
        self.report.activations = batches.activations
        recovery_held.hold_activations(self.connection, batches.activations, self.report.number)
        return batches.lot_keys

    def _record_lost(
        self, candidates: Collection[int], former: Mapping[int, BatchCard], database: DatabaseMarks
    ) -> None:
        """Record as lost the numbers that may have codes and have no record: the candidates, and all newly left out."""
        connection, report = self.connection, self.report
        top = min(report.known.batch, MAX_BATCH)
        # From the last row on: a sequence that was recovered is up to 32 ahead of the numbers that it had given.
        left_out = recovery.numbers_without_record(connection, database.reached.batch + 1, top)
        recorded = {one.number for one in report.batches}
        numbers = recovery.without_record(connection, {*candidates, *left_out} - recorded)
        cards = {number: msgspec.msgpack.encode(former_card(card)) for number, card in former.items()}
        recovery.add_lost(connection, numbers, report.number, cards)
        signed = self._signed(former) or set()
        recovery.mark_signed(connection, signed)
        known = [number for number, card in former.items() if not card.lost]
        unproven = dict.fromkeys(known, "unproven") | dict.fromkeys(signed, SIGNED)
        report.batches += [RecoveredBatch(number, unproven.get(number, LOST)) for number in numbers]

    def _signed(self, former: Mapping[int, BatchCard]) -> set[int] | None:
        """The lost batches whose codes the signer's log proves; None if nobody can read the log."""
        batches = BatchRecovery(self.connection, self.proofs, self.setting.base, self.setting.caller, self.setting.now)
        lost = [
            former[number] for number in recovery.without_record(self.connection, former) if not former[number].lost
        ]
        described = (batches.described(card) for card in lost)
        return self.proofs.signed([batch for batch in described if batch is not None])

    def _keep_products(self) -> dict[str, bytes]:
        """Keep the product cards that the registry of the database does not give today; returns them by key.

        The registry was imported after the backup. The older registry could show as valid what has been ended since.
        """
        shown = self.cards.products
        derived = product_cards(self.connection, shown, today(self.setting.now), kept=False)
        kept = {
            product_key(gtin): msgspec.msgpack.encode(kept_card(card))
            for gtin, card in shown.items()
            if derived.get(gtin) != card
        }
        for key, body in kept.items():
            recovery.keep_card(self.connection, key, self.report.number, body)
        return kept
