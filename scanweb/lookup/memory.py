"""The cards one process remembers of the projection, and how far they are known to be current.

Single-threaded, no I/O. `RedisReader` and `Freshness` read Redis and the database and hand over what they read, with the
head it belongs to. `Memory` keeps the two apart and never lets an older card replace a newer one.

Memory is current in one of two ways:

- Redis is believed: memory agrees with one head (generation, revision) of Redis, and `overlay` holds the few cards that
  the database has newer than that head.
- Redis is not believed: memory agrees with a revision of the database, for `FRESH_SECONDS` after each comparison.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from zpcode.wire.card import BatchCard, LotCard, NoticesCard, ProductCard, Timeline, lot_key, standing_key
from zpcode.wire.payload import Level
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import Scope

Card = ProductCard | BatchCard | LotCard | Timeline | NoticesCard
_DECODERS: Final[dict[str, msgspec.msgpack.Decoder[Card]]] = {
    "p": msgspec.msgpack.Decoder(ProductCard),
    "b": msgspec.msgpack.Decoder(BatchCard),
    "l": msgspec.msgpack.Decoder(LotCard),
    "s": msgspec.msgpack.Decoder(Timeline),
    "x": msgspec.msgpack.Decoder(Timeline),
    "n": msgspec.msgpack.Decoder(NoticesCard),
}
FRESH_SECONDS = 0.9
"""How long memory that follows the database is current after a comparison. Below 1 s: a revocation shows within 1 s."""
_STANDINGS_PER_CARD = 8
_GENERATIONS = 64


class CardRow(NamedTuple):
    """One row of the scan view. `body` is MessagePack of a card, or JSON of a history."""

    key: str
    revision: int
    body: bytes


class Rows(dict[str, CardRow]):
    """The rows that exist, by key. `head` is the database's newest revision when the oldest of them was read."""

    __slots__ = ("head",)

    def __init__(self, rows: Iterable[tuple[str, CardRow]], head: int) -> None:
        super().__init__(rows)
        self.head = head


@dataclass(frozen=True, slots=True)
class CardEntry:
    """One card with its revision. `card` is None where a registry record has no standing.

    `needs` are the keys of the standings that decide about this card, each with its scope.
    """

    card: Card | None
    revision: int
    needs: tuple[tuple[Scope, str], ...] = ()
    permutation: Permutation | None = None


def decode_entry(key: str, revision: int, body: bytes | None) -> CardEntry:
    """Decode the card stored under `key`; None is a record without a standing. Raises msgspec.DecodeError, ValueError."""
    if body is None:
        return CardEntry(None, revision)
    card = _DECODERS[key[0]].decode(body)
    if isinstance(card, ProductCard):
        return CardEntry(
            card, revision, tuple((scope, standing_key(scope, target)) for scope, target in card.standing_keys())
        )
    if isinstance(card, BatchCard):
        needs = ((Scope.LOT, standing_key(Scope.LOT, lot_key(card.gtin, card.lot)[2:])),) if card.lot else ()
        is_item = (
            card.permutation_key != b"" and Level(card.level).is_item
        )  # of a lost batch, the number alone may be left
        permutation = Permutation(card.permutation_key) if is_item else None
        return CardEntry(card, revision, needs, permutation)
    return CardEntry(card, revision)


class Memory:
    """Card entries by key. Of each kind at most `size` are kept (of standings eight times as many), the last used ones.

    Timelines of single items are kept only where the database was read: Redis gives them with every scan.
    """

    __slots__ = (
        "_cards",
        "_fresh_until",
        "_lineage",
        "_past",
        "_size",
        "believed",
        "changes",
        "doubted",
        "epoch",
        "floor",
        "generation",
        "overlay",
        "revision",
        "version",
    )

    def __init__(self, size: int) -> None:
        self._size = {
            "p": size,
            "b": size,
            "l": size,
            "s": size * _STANDINGS_PER_CARD,
            "x": size * _STANDINGS_PER_CARD,
            "n": 1,
        }
        self._cards: dict[str, OrderedDict[str, CardEntry]] = {kind: OrderedDict() for kind in self._size}
        self.overlay: dict[str, CardEntry] = {}
        self.generation: str | None = None
        self.revision = 0
        self.floor = 0  # highest revision read in this generation: a server that answers from below it lags
        self.believed = False  # whether Redis is believed: false until it was compared with the database
        self.doubted = False  # whether a witness disagrees with the database: Redis alone is not believed then
        self.version = 0  # grows with every change to what `get` returns
        self.changes = 0  # grows when a card that `get` returned may have been replaced or dropped
        self.epoch = 0  # grows when the result of a read that is under way may no longer be kept
        self._fresh_until = 0.0
        self._lineage = ""  # the generation that `floor` belongs to
        self._past: deque[str] = deque(maxlen=_GENERATIONS)

    def get(self, key: str) -> CardEntry | None:
        """The entry under a key; None where none is remembered."""
        if self.overlay and (newer := self.overlay.get(key)) is not None:
            return newer
        cards = self._cards[key[0]]
        entry = cards.get(key)
        if entry is not None:
            cards.move_to_end(key)
        return entry

    def put(self, key: str, entry: CardEntry) -> None:
        """Remember an entry, unless this revision or a newer one is remembered already.

        Simultaneous scans read the same card. If the second replaced the first, the first scan would begin again.
        """
        cards = self._cards[key[0]]
        present = cards.get(key)
        if present is not None:
            if present.revision >= entry.revision:
                return
            self.changes += 1
        self.version += 1
        cards[key] = entry
        cards.move_to_end(key)
        if len(cards) > self._size[key[0]]:
            cards.popitem(last=False)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget some cards."""
        self.version += 1
        self.changes += 1
        for key in keys:
            cards = self._cards.get(key[:1])
            if cards is not None:
                cards.pop(key, None)

    def clear(self) -> None:
        """Forget everything except the floor."""
        self.version += 1
        self.changes += 1
        for cards in self._cards.values():
            cards.clear()
        self.overlay.clear()
        self.generation, self.revision, self._fresh_until = None, 0, 0.0
        self.epoch += 1

    def __len__(self) -> int:
        return sum(map(len, self._cards.values()))

    # Redis ------------------------------------------------------------------------------------------

    def doubt(self) -> None:
        """Redis failed, was emptied or went back in time: do not believe it until it has been compared again."""
        if self.believed:
            self.believed = False
            self.epoch += 1
            self._fresh_until = 0.0

    def begin(self, generation: str, revision: int) -> None:
        """Forget everything and start with a new generation.

        Only a new generation may lower the floor. So a restored database (new generation) is accepted; a lagging one
        (same generation) is not.
        """
        self.clear()
        self.generation, self.revision = generation, revision
        if generation != self._lineage:
            self._past.append(self._lineage)
            self._lineage, self.floor = generation, revision
        self.raise_floor(revision)

    def behind(self, generation: str, revision: int) -> bool:
        """Whether a head is from the past: below the floor of this generation, or of an earlier generation.

        After a failover to a replica that had not received everything, Redis has such a head.
        """
        if generation == self._lineage:
            return revision < self.floor
        return generation in self._past

    def raise_floor(self, revision: int) -> None:
        """Note that a server this process believes stands at `revision`."""
        self.floor = max(self.floor, revision)

    def advance(self, revision: int, changed: Iterable[str] | None) -> None:
        """Follow Redis to `revision`: forget the `changed` cards, or all cards where the log has a gap (None)."""
        self.version += 1
        self.changes += 1
        if changed is None:
            for cards in self._cards.values():
                cards.clear()
        else:
            self.drop(changed)
        self.revision = revision
        self.raise_floor(revision)
        self._prune_overlay(revision)

    def _prune_overlay(self, revision: int) -> None:
        """Drop from the overlay, and from memory, the cards that Redis has at `revision`."""
        done = [key for key, entry in self.overlay.items() if entry.revision <= revision]
        self.drop(done)
        for key in done:
            del self.overlay[key]

    def believe(self, generation: str, revision: int, newer: dict[str, CardEntry]) -> None:
        """Believe Redis, which stands at this head; `newer` are the cards that the database has newer than it.

        Cards of the overlay that are newer than memory stay until memory has followed Redis: they are never taken back.
        """
        if generation != self.generation:
            self.begin(generation, revision)
        elif revision < self.revision and not self.believed:
            self.revision = revision  # memory followed the database further than Redis came
        self.version += 1
        self.changes += 1
        overlay = {key: entry for key, entry in self.overlay.items() if entry.revision > self.revision}
        for key, entry in newer.items():
            if key not in overlay or overlay[key].revision < entry.revision:
                overlay[key] = entry
        self.overlay = overlay
        self._prune_overlay(self.revision)
        if not self.believed:
            self.believed = True
            self.epoch += 1

    # The database -----------------------------------------------------------------------------------

    def follow(self, revision: int, changed: dict[str, CardEntry] | None, at: float) -> None:
        """Follow the database, which stood at `revision` at `at` (monotonic seconds).

        `changed` are the cards that changed since memory's revision; None: too many, so everything is forgotten.
        """
        if changed is None or revision < self.revision:
            self.clear()
        else:
            for key, entry in changed.items():
                if key in self._cards.get(key[:1], ()):
                    self.put(key, entry)
        self.version += 1
        self.changes += 1
        self.raise_floor(revision)
        self.overlay.clear()
        if revision != self.revision:
            self.revision = revision
            self.epoch += 1
        self._fresh_until = at + FRESH_SECONDS

    def fresh(self, at: float) -> bool:
        """Whether memory that follows the database is current at `at` (monotonic seconds)."""
        return at < self._fresh_until
