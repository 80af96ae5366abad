"""The table `card`: scan processes read it when Redis cannot answer, and the projector copies it to Redis.

Every change of a card gets the next revision, in commit order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, Connection, LargeBinary, Text, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import OperationalError

from zpcode.errors import Text as Message
from zpcode.errors import Unavailable
from zpcode.store import continuity, locks
from zpcode.store.locks import Lock
from zpcode.store.tables.codes import card, card_head


class Card(NamedTuple):
    """One row: card key, revision, MessagePack body."""

    key: str
    revision: int
    body: bytes


_rows: Final = (
    func.unnest(bindparam("keys", type_=ARRAY(Text))),
    func.unnest(bindparam("revisions", type_=ARRAY(BigInteger))),
    func.unnest(bindparam("bodies", type_=ARRAY(LargeBinary))),
)
_insert: Final = insert(card).from_select(["key", "revision", "body"], select(*_rows))
_PUT: Final = _insert.on_conflict_do_update(
    index_elements=[card.c.key], set_={"revision": _insert.excluded.revision, "body": _insert.excluded.body}
)
"""One statement for any number of cards: a row for each is ten times as slow."""


def put_cards(connection: Connection, cards: Mapping[str, bytes]) -> int:
    """Write the cards whose bytes differ from the stored ones; return the head revision.

    Each writer locks the head row until its commit. So revisions become visible in order: a reader of revision N can
    read every revision up to N. Raises DatabaseBehind instead of giving a revision again.
    """
    continuity.require(connection)
    head = connection.execute(select(card_head.c.revision).with_for_update()).scalar_one()
    stored = {row.key: bytes(row.body) for row in fetch(connection, cards)}
    changed = [(key, body) for key, body in cards.items() if stored.get(key) != body]
    if not changed:
        return int(head)
    keys, bodies = zip(*changed, strict=True)
    revisions = list(range(head + 1, head + len(changed) + 1))
    connection.execute(_PUT, {"keys": list(keys), "revisions": revisions, "bodies": list(bodies)})
    connection.execute(update(card_head).values(revision=head + len(changed)))
    return int(head) + len(changed)


def renew(connection: Connection, keys: Collection[str]) -> int:
    """Give unchanged cards new revisions, so that the projector copies and announces them again.

    Returns the head revision. Writers lock the head row as in `put_cards`. Raises DatabaseBehind.
    """
    continuity.require(connection)
    head = int(connection.execute(select(card_head.c.revision).with_for_update()).scalar_one())
    for step, key in enumerate(sorted(set(keys)), 1):
        connection.execute(update(card).where(card.c.key == key).values(revision=head + step))
    newest = connection.execute(select(func.max(card.c.revision))).scalar_one() or head
    connection.execute(update(card_head).values(revision=max(head, int(newest))))
    return max(head, int(newest))


def fetch(connection: Connection, keys: Mapping[str, bytes] | list[str]) -> list[Card]:
    """The existing cards among these keys, in any order."""
    among = bindparam("keys", list(keys), ARRAY(Text))
    rows = connection.execute(select(card).where(card.c.key == func.any(among)))
    return [Card(row.key, row.revision, bytes(row.body)) for row in rows]


def head(connection: Connection) -> int:
    """The newest revision."""
    return int(connection.execute(select(card_head.c.revision)).scalar_one())


def turned_on(connection: Connection) -> date:
    """The date for which the product cards were derived. Locks the head row until the transaction ends."""
    day: date = connection.execute(select(card_head.c.turned_on).with_for_update()).scalar_one()
    return day


def turn(connection: Connection, day: date) -> None:
    """Store that the product cards were derived for the date `day`. Raises DatabaseBehind."""
    continuity.require(connection)
    connection.execute(update(card_head).values(turned_on=day))


def since(connection: Connection, revision: int, limit: int) -> list[Card]:
    """Up to `limit` cards that changed after `revision`, in the order of their revisions."""
    rows = connection.execute(select(card).where(card.c.revision > revision).order_by(card.c.revision).limit(limit))
    return [Card(row.key, row.revision, bytes(row.body)) for row in rows]


def everything(connection: Connection) -> Iterator[list[Card]]:
    """All cards in chunks of 500, in the order of their revisions."""
    query = select(card).order_by(card.c.revision).execution_options(yield_per=500)
    for chunk in connection.execute(query).partitions():
        yield [Card(row.key, row.revision, bytes(row.body)) for row in chunk]


def items(connection: Connection, number: int) -> Iterator[list[Card]]:
    """The cards of single items of one batch, in chunks of 500."""
    query = select(card).where(card.c.key.like(f"x:{number}:%"))
    for chunk in connection.execute(query).partitions(500):
        yield [Card(row.key, row.revision, bytes(row.body)) for row in chunk]


def lock_projector(connection: Connection) -> None:
    """Take the lock for writing Redis until the transaction ends.

    Raises Unavailable if another process keeps the lock for half a second: a status change must not wait for a rebuild.
    The worker copies the change later.
    """
    connection.execute(text("SET LOCAL lock_timeout = '500ms'"))
    try:
        locks.hold(connection, Lock.PROJECTOR)
    except OperationalError as error:
        raise Unavailable(
            Message(
                "另一个进程正在同步缓存，更改已保存，稍后自动同步",
                "another process is updating Redis; the change is saved and will be copied automatically",
            )
        ) from error
