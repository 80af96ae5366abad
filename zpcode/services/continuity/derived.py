"""Writes the cards that follow from what a recovery, or a person after it, has entered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

import msgspec

from zpcode.rules.cards import lost_batch_card
from zpcode.services.fsck.cards import derived_cards
from zpcode.services.notices import encoded_card
from zpcode.store import cards, status
from zpcode.store.database.session import Connection
from zpcode.wire.card import batch_key

_SLICE: Final = 500
_LOST_SLICE: Final = 5000


def write_cards(connection: Connection, keys: Sequence[str], day: date) -> None:
    """Derive the cards with these keys for a date, and the card of notices, and write those that differ."""
    with_items = status.batches_with_items(connection)
    for start in range(0, len(keys), _SLICE):
        part = derived_cards(connection, keys[start : start + _SLICE], day, with_items)
        cards.put_cards(connection, {key: msgspec.msgpack.encode(card) for key, card in part.items()})
    cards.put_cards(connection, encoded_card(connection))


def write_lost_cards(connection: Connection, numbers: Sequence[int]) -> None:
    """Write the cards of lost batches of which nothing but the number is known. There may be 100 000 of them."""
    for start in range(0, len(numbers), _LOST_SLICE):
        part = numbers[start : start + _LOST_SLICE]
        bodies = (msgspec.msgpack.encode(lost_batch_card(number, None, (), exceptions=False)) for number in part)
        cards.put_cards(connection, dict(zip(map(batch_key, part), bodies, strict=True)))
