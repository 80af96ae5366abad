"""Compare the copies of cards in Redis with the database, and repair differences.

A scan does not notice a card that is missing from an intact Redis (a field deleted by hand, a partly restored backup): a
missing timeline means "no decision". So the worker compares continuously, one slice each second, and `zpcode fsck`
compares everything at once.

Both first compare without a lock, and then read the differing cards again with the projector's lock, while no other
process writes Redis. A card that still differs is wrong, unless its revision has not been copied yet. A wrong card gets a
new revision in the table and is then handled like every change: written, announced, and forgotten by all scan processes.
So the next run of the projector completes an interrupted repair.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, NamedTuple

from redis.exceptions import RedisError

from zpcode.errors import Text, Unavailable
from zpcode.projection import client, copies, head_keys, heads, projector
from zpcode.projection.client import AnyRedis, Layout
from zpcode.projection.copies import Copy
from zpcode.store import cards as card_table
from zpcode.store import continuity
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire import redis_keys

SLICE_SECONDS: Final = 1.0
LEAST: Final = 200
MOST: Final = 2000
STANDINGS_MARK: Final = f"s:{redis_keys.COMPLETE}"
_logger = logging.getLogger(__name__)
_AWAY = Text("缓存服务暂时无法访问，稍后继续比对", "Redis does not answer; the comparison continues later")


@dataclass(frozen=True, slots=True)
class Difference:
    """A card whose copy in Redis differs from the database.

    `kind` is `missing`, `older`, `newer` (a revision above that of the database), `altered` (the same revision, other
    bytes), `unreadable`, `stray` (not in the database) or `mark` (the mark that a hash is complete is missing).
    `repaired` is True if the difference has been repaired.
    """

    key: str
    kind: str
    repaired: bool = False


class _WrongCopy(NamedTuple):
    """A difference, the copy in Redis, and the right value (empty: no value)."""

    difference: Difference
    copy: Copy
    right: bytes


def compare(engine: Engine, redis: AnyRedis, cards: Sequence[Card], *, repair: bool) -> list[Difference]:
    """The confirmed differences between these cards and their copies in Redis. Raises Unavailable."""
    try:
        layout = client.layout(redis)
        read = copies.read(layout, [card.key for card in cards])
        suspect = [card.key for card, copy in zip(cards, read, strict=True) if _kind(card, copy)]
        marks = sorted({mark for card in cards if (mark := mark_of(card.key))})
        suspect += [mark for mark, copy in zip(marks, copies.read(layout, marks), strict=True) if copy == b""]
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    return confirm(engine, redis, suspect, repair=repair) if suspect else []


def compare_standings_mark(engine: Engine, redis: AnyRedis, *, repair: bool) -> list[Difference]:
    """A difference if the hash of all standings has no mark of completeness; an empty hash needs the mark too."""
    try:
        (copy,) = copies.read(client.layout(redis), [STANDINGS_MARK])
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    return confirm(engine, redis, [STANDINGS_MARK], repair=repair) if copy == b"" else []


def strays(engine: Engine, redis: AnyRedis, keys: Sequence[str], *, repair: bool) -> list[Difference]:
    """The confirmed cards among these keys of Redis that the database does not have. Raises Unavailable."""
    with transaction(engine) as connection:
        existing = integrity.existing_cards(
            connection, [key for key in keys if "\0" not in key]
        )  # no text of SQL has it
    suspect = [key for key in keys if key not in existing]
    return confirm(engine, redis, suspect, repair=repair) if suspect else []


def confirm(engine: Engine, redis: AnyRedis, keys: Sequence[str], *, repair: bool) -> list[Difference]:
    """Compare these cards while no other process writes Redis; with `repair`, repair the differences.

    A shard without a head has no differences: readers ignore it, and the worker fills it. Raises Unavailable, also if
    another process is writing Redis; DatabaseBehind if a head is ahead of the database. The projector writes the marks of a
    head before the cards, so a card that is newer than the database under a head that is not was written by somebody else.
    """
    marks = [key for key in dict.fromkeys(keys) if key.endswith(f":{redis_keys.COMPLETE}")]
    card_keys = [key for key in dict.fromkeys(keys) if key not in marks]
    with _exclusive(engine, redis) as (connection, layout, revisions):
        wrong = _wrong(connection, layout, revisions, card_keys)
        marks = [mark for mark in marks if id(copies.shard_of(layout, mark)) in revisions and not _exists(layout, mark)]
        wrong_keys = {one.difference.key for one in wrong}
        for mark in marks:
            in_hash = (
                one for one in _in_hash(connection, layout, mark, revisions) if one.difference.key not in wrong_keys
            )
            wrong += list(islice(in_hash, MOST))
        differences = _repaired(connection, layout, wrong) if repair else [one.difference for one in wrong]
    if repair and differences:
        with suppress(Unavailable):  # the new revisions are in the table, so the worker continues
            projector.catch_up(engine, redis, fill=False)
    return differences + [Difference(mark, "mark", repair and _write_mark(engine, redis, mark)) for mark in marks]


@contextmanager
def _exclusive(engine: Engine, redis: AnyRedis) -> Iterator[tuple[Connection, Layout, Mapping[int, int]]]:
    """A transaction with the projector's lock, the shards of Redis, and the revision of each head by the `id` of its shard.

    Shards without a head, or with a forged one, have none: the projector fills or corrects them. Raises Unavailable;
    DatabaseBehind if a head is ahead.
    """
    try:
        with transaction(engine) as connection:
            continuity.require(connection)
            card_table.lock_projector(connection)
            layout = client.layout(redis)
            present = heads.of_layout(layout)
            forged = head_keys.require_not_ahead(connection, present).forged
            revisions = {
                id(shard): head.revision
                for shard, head in zip(layout.shards, present, strict=True)
                if head.generation and head.revision >= 0 and head not in forged
            }
            yield connection, layout, revisions
    except RedisError as error:
        raise Unavailable(_AWAY) from error


def _exists(layout: Layout, mark: str) -> bool:
    return copies.read(layout, [mark]) != [b""]


def _wrong(connection: Connection, layout: Layout, heads: Mapping[int, int], keys: Sequence[str]) -> list[_WrongCopy]:
    """The wrong copies of these cards, on shards with a head."""
    valid = [key for key in keys if id(copies.shard_of(layout, key)) in heads]
    rows = {card.key: card for card in card_table.fetch(connection, valid)}
    wrong: list[_WrongCopy] = []
    for key, copy in zip(valid, copies.read(layout, valid), strict=True):
        if (card := rows.get(key)) is not None:
            wrong += _differing(card, copy, heads[id(copies.shard_of(layout, key))])
        elif copy != b"":
            wrong.append(_WrongCopy(Difference(key, "stray"), copy, b""))
    return wrong


def _in_hash(connection: Connection, layout: Layout, mark: str, heads: Mapping[int, int]) -> Iterator[_WrongCopy]:
    """The wrong copies in a hash."""
    revision = heads[id(copies.shard_of(layout, mark))]
    for cards in integrity.cards_under(connection, mark.removesuffix(redis_keys.COMPLETE)):
        for card, copy in zip(cards, copies.read(layout, [card.key for card in cards]), strict=True):
            yield from _differing(card, copy, revision)


def _differing(card: Card, copy: Copy, head: int) -> list[_WrongCopy]:
    """The difference between a card and its copy, if there is one and the card is not newer than the head."""
    kind = _kind(card, copy) if card.revision <= head else ""
    return [_WrongCopy(Difference(card.key, kind), copy, redis_keys.pack(card.revision, card.body))] if kind else []


def _repaired(connection: Connection, layout: Layout, wrong: Sequence[_WrongCopy]) -> list[Difference]:
    """Give the wrong cards new revisions, so that the projector writes and announces them and all readers forget them.

    A copy that a newer card would not replace is replaced here, if it has not changed meanwhile. The log cannot name a
    deleted card. So the log is deleted and any one card gets a new revision: when the head advances, readers without a
    log forget all cards.
    """
    done: list[Difference] = []
    for one in wrong:
        by_projector = one.difference.kind in {"missing", "older", "altered"}
        done.append(
            replace(
                one.difference, repaired=by_projector or copies.replace(layout, one.difference.key, one.right, one.copy)
            )
        )
    keys = [one.key for one in done if one.repaired and one.kind != "stray"]
    if any(one.kind == "stray" and one.repaired for one in done):
        for shard in layout.shards:
            shard.redis.delete(shard.feed.log)
        keys += [card.key for card in integrity.cards_after(connection, "", 1)]
    if keys:
        card_table.renew(connection, keys)
    return done


def _write_mark(engine: Engine, redis: AnyRedis, mark: str) -> bool:
    """Write the mark of completeness of a hash if the hash is complete; return whether the mark exists."""
    with _exclusive(engine, redis) as (connection, layout, revisions):
        if id(copies.shard_of(layout, mark)) not in revisions or any(_in_hash(connection, layout, mark, revisions)):
            return False
        return copies.replace(layout, mark, b"1", b"") or _exists(layout, mark)


def mark_of(key: str) -> str:
    """The card key of the completeness mark for the hash of a card; empty for a card that is not in a hash."""
    if key.startswith("s:"):
        return STANDINGS_MARK
    return f"{key.rpartition(':')[0]}:{redis_keys.COMPLETE}" if key.startswith("x:") else ""


def _kind(card: Card, copy: Copy) -> str:
    """The kind of the difference between a card and its copy; empty if they are equal."""
    if copy == redis_keys.pack(card.revision, card.body):
        return ""
    if copy is None:
        return "unreadable"
    if copy == b"":
        return "missing"
    revision, _ = redis_keys.unpack(copy)
    return "older" if revision < card.revision else "newer" if revision > card.revision else "altered"


@dataclass(slots=True)
class ProjectionComparison:
    """The worker's continuous comparison of all cards: each second `step` compares one slice.

    A whole round takes `round_seconds`. A slice has 200 to 2000 cards, so a round takes longer with more than
    1000 × `round_seconds` cards. `compared`, `wrong`, `repaired`, `rounds` and `by_kind` count since the start.
    """

    engine: Engine
    redis: AnyRedis
    round_seconds: float
    compared: int = 0
    wrong: int = 0
    repaired: int = 0
    rounds: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    _size: int = LEAST
    _after: str = ""
    _reverse: Iterator[str] | None = None

    def step(self) -> int:
        """Compare one slice and repair differences; return the number of differences. Raises Unavailable."""
        differences = self._forward() if self._reverse is None else self._backward(self._reverse)
        for difference in differences:
            self.by_kind[difference.kind] = self.by_kind.get(difference.kind, 0) + 1
            _logger.error(
                "Redis had lost or altered a card",
                extra={"card": difference.key, "kind": difference.kind, "mended": difference.repaired},
            )
        self.wrong += len(differences)
        self.repaired += sum(difference.repaired for difference in differences)
        return len(differences)

    def _forward(self) -> list[Difference]:
        """Compare the next slice of the cards of the database; after the last one, those of Redis follow."""
        beginning = not self._after
        with transaction(self.engine) as connection:
            if beginning:
                self._size = _size(integrity.count_cards(connection), self.round_seconds)
            cards = integrity.cards_after(connection, self._after, self._size)
        differences = compare(self.engine, self.redis, cards, repair=True)
        if beginning:
            differences += compare_standings_mark(self.engine, self.redis, repair=True)
        self.compared += len(cards)
        self._after = cards[-1].key if cards else ""
        if len(cards) < self._size:
            self._reverse = self._redis_keys()
        return differences

    def _backward(self, reverse: Iterator[str]) -> list[Difference]:
        """Compare the next slice of the cards of Redis; after the last one, a new round begins."""
        try:
            keys = list(islice(reverse, self._size))
            differences = strays(self.engine, self.redis, keys, repair=True)
        except (RedisError, Unavailable) as error:
            self._reverse = self._redis_keys()  # an interrupted iteration cannot be continued
            raise Unavailable(_AWAY) from error
        if len(keys) < self._size:
            self._reverse, self._after = None, ""
            self.rounds += 1
        return differences

    def _redis_keys(self) -> Iterator[str]:
        yield from copies.keys(client.layout(self.redis))


def _size(cards: int, seconds: float) -> int:
    slices = max(1.0, seconds / SLICE_SECONDS / 2)  # half of a round for each direction
    return max(LEAST, min(MOST, int(cards / slices) + 1))
