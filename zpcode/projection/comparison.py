"""Is what Redis holds what the database says? Card by card, in bulk, and put right where it is not.

A card lost out of an intact Redis (a field deleted by hand, half a backup brought back) would never be missed by
a scan: a missing standing reads as "nothing against it". So the worker compares all the time, a slice a second,
and `zpcode fsck` compares everything at once.

Both look first without a lock, and look again at what differed while nobody else writes Redis (the projector's
lock): what differs then is wrong, unless its revision is one that Redis has still to be told of. A wrong card is
given a new revision in the table and goes the way of every change: it is written, announced, and forgotten by every
scan process. So a repair that is broken off is finished by whoever projects next.
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
from zpcode.projection import client, copies, projector
from zpcode.projection.client import AnyRedis, Layout
from zpcode.projection.copies import Copy
from zpcode.store import cards as card_table
from zpcode.store.cards import Card
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.monitoring import integrity
from zpcode.wire import redis_keys
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD

SLICE_SECONDS: Final = 1.0
LEAST: Final = 200
MOST: Final = 2000
STANDINGS_MARK: Final = f"s:{redis_keys.COMPLETE}"
_logger = logging.getLogger(__name__)
_AWAY = Text("缓存服务暂时无法访问，稍后继续比对", "Redis does not answer; the comparison goes on later")


@dataclass(frozen=True, slots=True)
class Difference:
    """One card that Redis has otherwise than the database.

    `kind` is `missing`, `older`, `newer` (a revision the database has not reached), `altered` (the same revision,
    other bytes), `unreadable`, `stray` (the database has none) or `mark` (the sign that a hash is complete is
    missing). `mended` says that Redis has since been put right.
    """

    key: str
    kind: str
    mended: bool = False


class _Wrong(NamedTuple):
    """A difference with what was seen in Redis and what belongs there (empty: nothing)."""

    difference: Difference
    seen: Copy
    right: bytes


def compare(engine: Engine, redis: AnyRedis, cards: Sequence[Card], *, repair: bool) -> list[Difference]:
    """What Redis has otherwise than these cards, confirmed while nobody else writes. Raises Unavailable."""
    try:
        layout = client.layout(redis)
        found = copies.read(layout, [card.key for card in cards])
        suspect = [card.key for card, copy in zip(cards, found, strict=True) if _kind(card, copy)]
        marks = sorted({mark for card in cards if (mark := mark_of(card.key))})
        suspect += [mark for mark, copy in zip(marks, copies.read(layout, marks), strict=True) if copy == b""]
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    return confirm(engine, redis, suspect, repair=repair) if suspect else []


def compare_standings_mark(engine: Engine, redis: AnyRedis, *, repair: bool) -> list[Difference]:
    """Whether the hash of the registry's standings says that it is complete, also where there is no standing at all."""
    try:
        (copy,) = copies.read(client.layout(redis), [STANDINGS_MARK])
    except RedisError as error:
        raise Unavailable(_AWAY) from error
    return confirm(engine, redis, [STANDINGS_MARK], repair=repair) if copy == b"" else []


def strays(engine: Engine, redis: AnyRedis, keys: Sequence[str], *, repair: bool) -> list[Difference]:
    """Those of these cards, found in Redis, that the database does not have. Raises Unavailable."""
    with transaction(engine) as connection:
        known = integrity.existing_cards(connection, keys)
    suspect = [key for key in keys if key not in known]
    return confirm(engine, redis, suspect, repair=repair) if suspect else []


def confirm(engine: Engine, redis: AnyRedis, keys: Sequence[str], *, repair: bool) -> list[Difference]:
    """Look again at some cards while nobody else writes Redis; with `repair` put right what is wrong.

    A server without a head has no wrong cards: nobody believes it, and the worker fills it. Raises Unavailable, also
    where another process is writing Redis just now.
    """
    marks = [key for key in dict.fromkeys(keys) if key.endswith(f":{redis_keys.COMPLETE}")]
    wanted = [key for key in dict.fromkeys(keys) if key not in marks]
    with _alone(engine, redis) as (connection, layout):
        told = _told(layout)
        wrong = _wrong(connection, layout, told, wanted)
        marks = [mark for mark in marks if id(copies.shard_of(layout, mark)) in told and not _there(layout, mark)]
        known = {one.difference.key for one in wrong}
        for mark in marks:
            under = (one for one in _under(connection, layout, mark, told) if one.difference.key not in known)
            wrong += list(islice(under, MOST))
        found = _mended(connection, layout, wrong) if repair else [one.difference for one in wrong]
    if repair and found:
        with suppress(Unavailable):  # it is in the table: the worker goes on with it
            projector.catch_up(engine, redis, fill=False)
    return found + [Difference(mark, "mark", repair and _marked(engine, redis, mark)) for mark in marks]


@contextmanager
def _alone(engine: Engine, redis: AnyRedis) -> Iterator[tuple[Connection, Layout]]:
    """A transaction during which nobody else writes cards to Redis, and Redis's shards. Raises Unavailable."""
    try:
        with transaction(engine) as connection:
            card_table.lock_projector(connection)
            yield connection, client.layout(redis)
    except RedisError as error:
        raise Unavailable(_AWAY) from error


def _told(layout: Layout) -> Mapping[int, int]:
    """The revision that each shard has been told of, by `id`; a shard without a head is not among them."""
    told: dict[int, int] = {}
    for shard in layout.shards:
        generation, revision = shard.redis.hmget(shard.feed.head, [GENERATION_FIELD, REVISION_FIELD])
        if generation is not None and revision is not None and revision.isdigit():
            told[id(shard)] = int(revision)
    return told


def _there(layout: Layout, mark: str) -> bool:
    return copies.read(layout, [mark]) != [b""]


def _wrong(connection: Connection, layout: Layout, told: Mapping[int, int], keys: Sequence[str]) -> list[_Wrong]:
    """What is wrong with the copies of these cards."""
    believed = [key for key in keys if id(copies.shard_of(layout, key)) in told]
    rows = {card.key: card for card in card_table.fetch(connection, believed)}
    found: list[_Wrong] = []
    for key, copy in zip(believed, copies.read(layout, believed), strict=True):
        if (card := rows.get(key)) is not None:
            found += _differing(card, copy, told[id(copies.shard_of(layout, key))])
        elif copy != b"":
            found.append(_Wrong(Difference(key, "stray"), copy, b""))
    return found


def _under(connection: Connection, layout: Layout, mark: str, told: Mapping[int, int]) -> Iterator[_Wrong]:
    """What is wrong with the cards of a hash."""
    revision = told[id(copies.shard_of(layout, mark))]
    for cards in integrity.cards_under(connection, mark.removesuffix(redis_keys.COMPLETE)):
        for card, copy in zip(cards, copies.read(layout, [card.key for card in cards]), strict=True):
            yield from _differing(card, copy, revision)


def _differing(card: Card, copy: Copy, told: int) -> list[_Wrong]:
    """A card of which Redis has been told and which it has otherwise."""
    kind = _kind(card, copy) if card.revision <= told else ""
    return [_Wrong(Difference(card.key, kind), copy, redis_keys.pack(card.revision, card.body))] if kind else []


def _mended(connection: Connection, layout: Layout, wrong: Sequence[_Wrong]) -> list[Difference]:
    """Renew the cards that are wrong in Redis: they will be written, announced, and forgotten by every reader.

    What a newer card could not replace is replaced here and now, if it is still what was seen. What is taken away
    cannot be named in the log of changes; without the log readers forget everything, as soon as the head moves: so
    one card, any one, is renewed with it.
    """
    done: list[Difference] = []
    for one in wrong:
        by_itself = one.difference.kind in {"missing", "older", "altered"}
        done.append(
            replace(one.difference, mended=by_itself or copies.replace(layout, one.difference.key, one.right, one.seen))
        )
    keys = [one.key for one in done if one.mended and one.kind != "stray"]
    if any(one.kind == "stray" and one.mended for one in done):
        for shard in layout.shards:
            shard.redis.delete(shard.feed.log)
        keys += [card.key for card in integrity.cards_after(connection, "", 1)]
    if keys:
        card_table.renew(connection, keys)
    return done


def _marked(engine: Engine, redis: AnyRedis, mark: str) -> bool:
    """Say of a hash that it is complete, if it is; whether that was said."""
    with _alone(engine, redis) as (connection, layout):
        told = _told(layout)
        if id(copies.shard_of(layout, mark)) not in told or any(_under(connection, layout, mark, told)):
            return False
        return copies.replace(layout, mark, b"1", b"") or _there(layout, mark)


def mark_of(key: str) -> str:
    """The card key of the completeness mark of the hash a card stands in; empty for one that stands alone."""
    if key.startswith("s:"):
        return STANDINGS_MARK
    return f"{key.rpartition(':')[0]}:{redis_keys.COMPLETE}" if key.startswith("x:") else ""


def _kind(card: Card, copy: Copy) -> str:
    """What is wrong with a copy; empty where nothing is."""
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
    """The worker's round through all cards: `step` is one slice, taken every second.

    `round_seconds` is how long a whole round may take; a slice has at least 200 and at most 2000 cards, so with more
    than 1000 × `round_seconds` cards it takes longer. `compared`, `wrong`, `mended`, `rounds` and `by_kind` count
    since the start.
    """

    engine: Engine
    redis: AnyRedis
    round_seconds: float
    compared: int = 0
    wrong: int = 0
    mended: int = 0
    rounds: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    _size: int = LEAST
    _after: str = ""
    _reverse: Iterator[str] | None = None

    def step(self) -> int:
        """Compare one slice and put right what is wrong in it; returns how much of it was. Raises Unavailable."""
        found = self._forward() if self._reverse is None else self._backward(self._reverse)
        for difference in found:
            self.by_kind[difference.kind] = self.by_kind.get(difference.kind, 0) + 1
            _logger.error(
                "Redis had lost or altered a card",
                extra={"card": difference.key, "kind": difference.kind, "mended": difference.mended},
            )
        self.wrong += len(found)
        self.mended += sum(difference.mended for difference in found)
        return len(found)

    def _forward(self) -> list[Difference]:
        """The next slice of the database's cards; after the last, Redis's own are gone through."""
        beginning = not self._after
        with transaction(self.engine) as connection:
            if beginning:
                self._size = _size(integrity.count_cards(connection), self.round_seconds)
            cards = integrity.cards_after(connection, self._after, self._size)
        found = compare(self.engine, self.redis, cards, repair=True)
        if beginning:
            found += compare_standings_mark(self.engine, self.redis, repair=True)
        self.compared += len(cards)
        self._after = cards[-1].key if cards else ""
        if len(cards) < self._size:
            self._reverse = self._walk()
        return found

    def _backward(self, reverse: Iterator[str]) -> list[Difference]:
        """The next slice of Redis's cards; after the last, a new round begins."""
        try:
            keys = list(islice(reverse, self._size))
            found = strays(self.engine, self.redis, keys, repair=True)
        except (RedisError, Unavailable) as error:
            self._reverse = self._walk()  # a walk that was broken off cannot be gone on with
            raise Unavailable(_AWAY) from error
        if len(keys) < self._size:
            self._reverse, self._after = None, ""
            self.rounds += 1
        return found

    def _walk(self) -> Iterator[str]:
        yield from copies.keys(client.layout(self.redis))


def _size(cards: int, seconds: float) -> int:
    slices = max(1.0, seconds / SLICE_SECONDS / 2)  # half of a round for each direction
    return max(LEAST, min(MOST, int(cards / slices) + 1))
