"""Which cards in Redis can be cards of this service. The others prove nothing: a recovery lists them and enters nothing of them.

Whoever can write to Redis can write any card. A card with more decisions than the service takes, with a time that no decision
can have, or about a target that there cannot be would stop a recovery, or keep it busy for hours.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from zpcode.errors import Refused
from zpcode.rules.batches.batch import MAX_QUANTITY
from zpcode.rules.cards import OLD_STOCK
from zpcode.rules.status.permissions import HORIZON, MAX_TARGET, text_faults
from zpcode.rules.status.shares import MAX_PENDING, MAX_RANGES
from zpcode.rules.status.targets import RecordTarget, parse_target
from zpcode.rules.status.timelines import LEVELS
from zpcode.wire.base32 import is_seal_text
from zpcode.wire.calendar import seconds
from zpcode.wire.card import BatchCard, ProductCard, RangeEntry, RangeLayer, Timeline
from zpcode.wire.gs1 import is_gtin14, is_lot
from zpcode.wire.payload import KEY_ID_LENGTH, MAX_BATCH, Level
from zpcode.wire.permutation import KEY_BYTES
from zpcode.wire.vocabulary import Scope

_EARLIER_VERSIONS: Final = 3
"""Earlier versions took up to this many times as many decisions."""
_STANDINGS: Final = _EARLIER_VERSIONS * MAX_PENDING * len(LEVELS)
_CURRENT: Final = _EARLIER_VERSIONS * 2 * MAX_RANGES
_LATEST: Final = HORIZON + timedelta(days=1)
_ITEM: Final = re.compile(r"([1-9][0-9]{0,7}):(0|[1-9][0-9]{0,9})", re.ASCII)


def is_possible_timeline(timeline: Timeline, now: datetime) -> bool:
    """Whether the service can have written this timeline."""
    times = [standing.effective_at for standing in timeline.standings]
    return len(times) <= _STANDINGS and all(_is_time(moment, now) for moment in times)


def is_possible_target(scope: Scope, target: str) -> bool:
    """Whether a card of a registry record can be about this target: it is in its canonical form."""
    if len(target) > MAX_TARGET or text_faults(target, MAX_TARGET):
        return False
    with suppress(Refused):
        parsed = parse_target(scope, target)
        return isinstance(parsed, RecordTarget) and parsed.key == target
    return False


def item_of(target: str) -> tuple[int, int] | None:
    """The batch and the index in `NUMBER:INDEX`; None where there cannot be such an item."""
    match = _ITEM.fullmatch(target)
    if match is None or int(match[1]) > MAX_BATCH or int(match[2]) >= MAX_QUANTITY:
        return None
    return int(match[1]), int(match[2])


def is_possible_batch(card: BatchCard, now: datetime) -> bool:
    """Whether the service can have written this card of a batch, with all decisions on it."""
    return (
        _is_batch(card)
        and 0 <= card.activated_at <= seconds(now) + _LATEST.total_seconds()
        and is_possible_timeline(card.timeline, now)
        and len(card.ranges) <= len(LEVELS)
        and all(_is_layer(layer, card.quantity, now) for layer in card.ranges)
    )


def is_possible_product(card: ProductCard) -> bool:
    """Whether GTIN and recognition on this card are ones that a registry can have."""
    shown = card.recognition
    if shown is None or not is_gtin14(card.gtin):
        return shown is None and is_gtin14(card.gtin)
    dates = all(text and _is_date(text) for text in (shown.valid_from, shown.valid_to))
    return dates and shown.old_stock in OLD_STOCK


def _is_batch(card: BatchCard) -> bool:
    if card.lost and not card.gtin:
        return 1 <= card.number <= MAX_BATCH and not (card.level or card.permutation_key or card.lot)
    if not 1 <= card.number <= MAX_BATCH or not is_gtin14(card.gtin) or card.level not in set(Level):
        return False
    checked = KEY_BYTES if card.level == Level.COMPACT else 0
    keys = len(card.permutation_key) == KEY_BYTES and (card.lost or len(card.check_key) in {checked, KEY_BYTES})
    signed = card.key_id == "" or (len(card.key_id) == KEY_ID_LENGTH and is_seal_text(card.key_id))
    lot = is_lot(card.lot) or (card.lot == "" and card.level != Level.LOT)
    dates = all(map(_is_date, (card.production_date, card.expiry_date)))
    return keys and signed and lot and dates and 1 <= card.quantity <= MAX_QUANTITY


def _is_date(text: str) -> bool:
    if not text:
        return True
    with suppress(ValueError):
        return date.fromisoformat(text).isoformat() == text
    return False


def _is_time(moment: int, now: datetime) -> bool:
    return 0 <= moment <= seconds(now) + _LATEST.total_seconds()


def _is_layer(layer: RangeLayer, quantity: int, now: datetime) -> bool:
    if len(layer.current) > _CURRENT or len(layer.coming) > _STANDINGS:
        return False
    in_order = all(one.last < other.first for one, other in pairwise(layer.current))
    return in_order and all(_is_entry(one, layer, quantity, now) for one in (*layer.current, *layer.coming))


def _is_entry(entry: RangeEntry, layer: RangeLayer, quantity: int, now: datetime) -> bool:
    return (
        0 <= entry.first <= entry.last < quantity
        and 0 <= entry.standing < len(layer.standings)
        and _is_time(entry.effective_at, now)
    )
