"""Cards for the services: a stored card by its key, and the rows that a card is derived from.

`zpcode.rules.cards` derives the cards. This module reads what a derivation needs, for the writers of cards and for
`fsck`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from zpcode.rules.batches.batch import Batch
from zpcode.rules.cards import lot_card
from zpcode.rules.journey import JourneyEvent, Subject
from zpcode.store import batches as batch_store
from zpcode.store import cards, journey
from zpcode.store.database.session import Connection
from zpcode.wire.card import BatchCard, LotCard, ProductCard, lot_key

CardType = TypeVar("CardType", ProductCard, BatchCard, LotCard)


def stored_card(connection: Connection, key: str, kind: type[CardType]) -> CardType | None:
    """The stored card with this key, or None."""
    rows = cards.fetch(connection, [key])
    return msgspec.msgpack.decode(rows[0].body, type=kind) if rows else None


def events_of_batches(connection: Connection, batches: Collection[Batch]) -> Mapping[int, Sequence[JourneyEvent]]:
    """The events for the cards of these batches, by batch number: first those of the batch, then those of its lot."""
    events = journey.of(connection, {subject for batch in batches for subject in _subjects(batch)})
    return {
        batch.number: [event for subject in _subjects(batch) for event in events.get(subject, ())] for batch in batches
    }


def _subjects(batch: Batch) -> list[Subject]:
    own = Subject(batch.number)
    return [own, Subject(gtin=batch.gtin, lot=batch.lot)] if batch.lot else [own]


def lot_cards(connection: Connection, lots: Collection[tuple[str, str]]) -> dict[str, LotCard]:
    """Derive the cards of these lots (GTIN-14, AI 10), by key. A lot without lot codes has no card."""
    if not lots:
        return {}
    events = journey.of(connection, [Subject(gtin=gtin, lot=lot) for gtin, lot in lots])
    return {
        lot_key(row.gtin, row.lot): lot_card(*row, events.get(Subject(gtin=row.gtin, lot=row.lot), ()))
        for row in batch_store.lots(connection, sorted(lots))
    }
