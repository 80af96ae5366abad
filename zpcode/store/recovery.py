"""What a recovery writes: sequences and revision moved forward, batches whose record is lost, product cards that it keeps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    bindparam,
    delete,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from zpcode.rules.continuity import Marks
from zpcode.store import locks
from zpcode.store.continuity import SEQUENCES
from zpcode.store.locks import Lock
from zpcode.store.tables.codes import batch, card_head
from zpcode.store.tables.continuity import kept_card, lost_batch

_AT_ONCE: Final = 1_000_000
"""Numbers drawn by one statement: less than a second."""


def lock(connection: Connection) -> None:
    """Let one recovery run at a time, and no import beside it."""
    locks.hold(connection, Lock.RECOVERY)
    locks.hold(connection, Lock.IMPORT)


def move_revision(connection: Connection, revision: int) -> None:
    """Move the head of the cards forward, never back."""
    connection.execute(update(card_head).where(card_head.c.revision < revision).values(revision=revision))


def move_sequences(connection: Connection, marks: Marks) -> None:
    """Move every sequence past the numbers that a witness knows of, never back. A rollback does not undo this.

    Numbers are drawn until it is there: the role may not use setval, with which a sequence could be taken to its end. How far
    a witness can be ahead has a bound (`zpcode.rules.continuity.REACH_NUMBERS`).
    """
    for kind, sequence in SEQUENCES.items():
        missing = f"SELECT :known - last_value + CASE WHEN is_called THEN 0 ELSE 1 END FROM {sequence}"  # noqa: S608 - names of this module
        draw = text(f"SELECT count(nextval('{sequence}')) FROM generate_series(1, least(:most, ({missing})))")  # noqa: S608 - the same
        known = getattr(marks, kind)
        while known > 0 and connection.execute(draw, {"known": known, "most": _AT_ONCE}).scalar_one():
            pass


def lost_batches(connection: Connection, numbers: Collection[int] | None = None) -> dict[int, bytes | None]:
    """The batches whose record is lost, all or those among `numbers`, with the card that Redis had of each."""
    query = select(lost_batch.c.number, lost_batch.c.card)
    if numbers is not None:
        query = query.where(lost_batch.c.number.in_(numbers))
    return {int(row.number): None if row.card is None else bytes(row.card) for row in connection.execute(query)}


def numbers_without_record(connection: Connection, first: int, last: int) -> list[int]:
    """The numbers from `first` to `last` without a batch."""
    query = "SELECT n FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) n WHERE NOT EXISTS (SELECT FROM batch WHERE number = n) ORDER BY n"
    return [int(number) for number in connection.execute(text(query), {"first": first, "last": last}).scalars()]


def without_record(connection: Connection, numbers: Collection[int]) -> list[int]:
    """Those of these numbers that have no batch, in order."""
    query = select(batch.c.number).where(batch.c.number == func.any(_array(numbers)))
    existing = set(connection.execute(query).scalars())
    return sorted(set(numbers) - existing)


def mark_signed(connection: Connection, numbers: Collection[int]) -> None:
    """Record which lost batches have codes that the signer's log proves; all others have none."""
    proven = lost_batch.c.number == func.any(_array(numbers))
    connection.execute(update(lost_batch).where(lost_batch.c.signed | proven).values(signed=proven))


def signed_batches(connection: Connection) -> dict[int, bytes]:
    """The lost batches whose codes the signer's log proves, with the card that Redis had of each."""
    rows = connection.execute(select(lost_batch.c.number, lost_batch.c.card).where(lost_batch.c.signed))
    return {int(row.number): bytes(row.card) for row in rows if row.card is not None}


def drop_card(connection: Connection, number: int) -> None:
    """Keep nothing but the number of a lost batch: what Redis had of it was wrong."""
    connection.execute(update(lost_batch).where(lost_batch.c.number == number).values(card=None, signed=False))


def add_lost(connection: Connection, numbers: Collection[int], recovery: int, cards: Mapping[int, bytes]) -> None:
    """Record that the records of batches are lost. A card that is known already stays if there is no new one."""
    new = upsert(lost_batch)
    new = new.from_select(["number", "recovery"], select(func.unnest(_array(numbers)), literal(recovery)))
    connection.execute(new.on_conflict_do_nothing())
    for number in numbers:
        if number in cards:
            connection.execute(update(lost_batch).where(lost_batch.c.number == number).values(card=cards[number]))


def _array(numbers: Collection[int]) -> BindParameter[Sequence[int]]:
    return bindparam("numbers", sorted(numbers), ARRAY(BigInteger))


def remove_lost(connection: Connection, number: int) -> None:
    """Record that a batch has its record again."""
    connection.execute(delete(lost_batch).where(lost_batch.c.number == number))


def keep_card(connection: Connection, key: str, recovery: int, body: bytes) -> None:
    """Keep what a product card in Redis showed of the recognition (`zpcode.rules.cards.kept_card`)."""
    values = {"recovery": recovery, "body": body}
    statement = upsert(kept_card).values(key=key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=[kept_card.c.key], set_=values))


def kept_cards(connection: Connection, keys: Collection[str] | None = None) -> dict[str, bytes]:
    """The product cards that are kept, all or those among `keys`."""
    query = select(kept_card.c.key, kept_card.c.body)
    if keys is not None:
        query = query.where(kept_card.c.key.in_(keys))
    return {row.key: bytes(row.body) for row in connection.execute(query)}


def release_cards(connection: Connection, keys: Collection[str]) -> None:
    """Keep these product cards no longer: the registry has their products again."""
    connection.execute(delete(kept_card).where(kept_card.c.key.in_(keys)))
