"""What Redis and the folder of code files have that a restored database lacks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from typing import Final, NamedTuple, Self

import msgspec

from zpcode.exports.formats import EXPORTS
from zpcode.projection import copies
from zpcode.projection.client import Layout
from zpcode.rules.batches.batch import Activation, Batch, BatchState
from zpcode.rules.continuity import HIGHEST_MARK, DatabaseMarks
from zpcode.rules.possible_cards import is_possible_batch, is_possible_product
from zpcode.services.batches.unfinished_file import CodeFile
from zpcode.store import cards as card_table
from zpcode.store.database.session import Connection
from zpcode.wire import redis_keys
from zpcode.wire.card import BatchCard, ProductCard, batch_key, is_card, product_key
from zpcode.wire.payload import MAX_BATCH, Level

_SLICE: Final = 2000
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,7}", re.ASCII)


class NewerCopy(NamedTuple):
    """A card in Redis that the database has lost: its revision and its body."""

    revision: int
    body: bytes


@dataclass(frozen=True, slots=True)
class ReadCards:
    """The cards of Redis that the database lost, by key; of these, those of batches by key and of products by GTIN.

    Cards that the service cannot have written are in `newer` alone.
    """

    newer: Mapping[str, NewerCopy] = field(default_factory=dict)
    batches: Mapping[str, BatchCard] = field(default_factory=dict)
    products: Mapping[str, ProductCard] = field(default_factory=dict)

    @classmethod
    def of(cls, newer: Mapping[str, NewerCopy], now: datetime) -> Self:
        """Decode the cards of batches and products."""
        batches = {key: decode_batch(key, newer[key].body, now) for key in kinds(newer, "b")}
        products = {key[2:]: decode_product(key, newer[key].body) for key in kinds(newer, "p")}
        return cls(
            newer,
            {key: card for key, card in batches.items() if card is not None},
            {gtin: card for gtin, card in products.items() if card is not None},
        )


def newer_copies(
    connection: Connection, layout: Layout, database: DatabaseMarks, *, forked: bool
) -> dict[str, NewerCopy]:
    """The cards of Redis that the database lacks, by card key: each copy that is newer than its own row. Raises RedisError.

    `forked`: Redis was written by another database that went on from the same backup, such as a copy that was promoted before.
    Then revisions are no measure, and every copy counts that differs from its row. A copy that a database of this revision must
    have had, and has not, shows the same.
    """
    lacking, contradicted = _lacking(connection, layout, database.assigned.revision, every=forked)
    if contradicted and not forked:
        lacking, _ = _lacking(connection, layout, database.assigned.revision, every=True)
    return lacking


def _lacking(connection: Connection, layout: Layout, reached: int, *, every: bool) -> tuple[dict[str, NewerCopy], bool]:
    """The copies that are newer than their row, or `every` one that differs; and whether one of revision ≤ `reached` is newer."""
    lacking: dict[str, NewerCopy] = {}
    contradicted = False
    listed = copies.keys(layout)
    while keys := list(islice(listed, _SLICE)):
        rows = {card.key: card for card in card_table.fetch(connection, keys)}
        for key, copy in zip(keys, copies.read(layout, keys), strict=True):
            if not copy:
                continue
            revision, body = redis_keys.unpack(copy)
            row = rows.get(key)
            if row is not None and row.body == body:
                continue
            newer = row is None or row.revision < revision
            if (newer or every) and 0 < revision <= HIGHEST_MARK and _possible(key) and is_card(key, body):
                lacking[key] = NewerCopy(revision, body)
                contradicted |= newer and revision <= reached
    return lacking, contradicted


def _possible(key: str) -> bool:
    """Whether a batch can have the number in this key; keys of other kinds have none."""
    kind, _, rest = key.partition(":")
    number = rest.partition(":")[0]
    return kind not in {"b", "x"} or (bool(_NUMBER.fullmatch(number)) and int(number) <= MAX_BATCH)


def decode_batch(key: str, body: bytes, now: datetime) -> BatchCard | None:
    """The card of a batch under its key; None where the service cannot have written these bytes there."""
    try:
        card = msgspec.msgpack.decode(body, type=BatchCard)
    except (msgspec.MsgspecError, ValueError):
        return None
    return card if batch_key(card.number) == key and is_possible_batch(card, now) else None


def decode_product(key: str, body: bytes) -> ProductCard | None:
    """The card of a product under its key; None where the service cannot have written these bytes there."""
    try:
        card = msgspec.msgpack.decode(body, type=ProductCard)
    except (msgspec.MsgspecError, ValueError):
        return None
    return card if product_key(card.gtin) == key and is_possible_product(card) else None


def batch_of(card: BatchCard, *, uscc: str, region: str, actor: str, base: str, now: datetime) -> Batch:
    """The record of a batch as its card describes it, reserved. Who ordered it and when is not on the card."""
    return Batch(
        number=card.number,
        uscc=uscc,
        region=region,
        gtin=card.gtin,
        level=Level(card.level),
        quantity=card.quantity,
        lot=card.lot,
        production_date=_date(card.production_date),
        expiry_date=_date(card.expiry_date),
        format=next(iter(EXPORTS)),
        base=base,
        activation=Activation.MANUAL,
        created_by=actor,
        created_at=now,
        permutation_key=card.permutation_key,
        check_key=card.check_key,
        key_id=card.key_id,
    )


def _date(text: str) -> date | None:
    return date.fromisoformat(text) if text else None


def issued(batch: Batch, file: CodeFile, now: datetime) -> Batch:
    """The record of a batch whose file proves that it was issued. It is not active: no file says that."""
    return replace(
        batch,
        state=BatchState.ISSUED,
        sha256=file.sha256,
        bytes=file.bytes,
        issued_at=now,
    )


def kinds(newer: Mapping[str, NewerCopy], kind: str) -> list[str]:
    """The keys of one kind (`p`, `b`, `l`, `s`, `x`), in order."""
    return sorted(key for key in newer if key.startswith(f"{kind}:"))
