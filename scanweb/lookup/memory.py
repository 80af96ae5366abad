"""What one process remembers of the projection, and how far that memory is known to be current.

Single-threaded, no I/O: whoever talks to Redis (`cache`) or to the database (`watch`) says what was read
and which head it belongs to; this module keeps the two apart and never lets an older card replace a newer.

Two ways to be current. While Redis is believed, memory agrees with one head (generation, revision) of
Redis, and `overlay` holds the few cards the database has newer than that head. While it is not, memory
agrees with a revision of the database, and only for as long as the watch has looked lately (`fresh`).
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
"""How long a memory that follows the database is believed after the watch looked: a revocation within 1 s."""
_STANDINGS_PER_CARD = 8
_GENERATIONS = 64


class CardRow(NamedTuple):
    """One row of the scan view. `body` is MessagePack of a card, or JSON of a history."""

    key: str
    revision: int
    body: bytes


class Rows(dict[str, CardRow]):
    """Rows by key, those that exist. When the oldest of them was read, the database's newest revision was `head`."""

    __slots__ = ("head",)

    def __init__(self, rows: Iterable[tuple[str, CardRow]], head: int) -> None:
        super().__init__(rows)
        self.head = head


@dataclass(frozen=True, slots=True)
class CardEntry:
    """One card as read: None where a registry record has no standing. `needs` are the standings it hangs on."""

    card: Card | None
    revision: int
    needs: tuple[tuple[Scope, str], ...] = ()
    permutation: Permutation | None = None


def held(key: str, revision: int, body: bytes | None) -> CardEntry:
    """A card decoded. Raises msgspec.DecodeError where the body is not one of its kind."""
    if body is None:
        return CardEntry(None, revision)
    card = _DECODERS[key[0]].decode(body)
    if isinstance(card, ProductCard):
        return CardEntry(
            card, revision, tuple((scope, standing_key(scope, target)) for scope, target in card.standing_keys())
        )
    if isinstance(card, BatchCard):
        needs = ((Scope.LOT, standing_key(Scope.LOT, lot_key(card.gtin, card.lot)[2:])),) if card.lot else ()
        permutation = Permutation(card.permutation_key) if Level(card.level).is_item else None
        return CardEntry(card, revision, needs, permutation)
    return CardEntry(card, revision)


class Memory:
    """Cards by key, least recently used ones dropped beyond `size` of each kind; of standings eightfold.

    Timelines of single items are asked of Redis with every scan, and remembered only where the database was asked.
    """

    __slots__ = (
        "_cards",
        "_fresh_until",
        "_lineage",
        "_past",
        "_size",
        "believed",
        "changes",
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
        self.floor = 0  # the highest revision met in this generation: whoever answers from below it lags
        self.believed = False  # whether Redis is: not before it was compared with the database
        self.version = 0  # grows with every change to what `get` gives
        self.changes = 0  # grows whenever a card that was given out may have been replaced or taken back
        self.epoch = 0  # grows whenever something under way may no longer be kept
        self._fresh_until = 0.0
        self._lineage = ""  # the generation the floor belongs to
        self._past: deque[str] = deque(maxlen=_GENERATIONS)

    def get(self, key: str) -> CardEntry | None:
        """What is remembered under a key."""
        if self.overlay and (newer := self.overlay.get(key)) is not None:
            return newer
        cards = self._cards[key[0]]
        found = cards.get(key)
        if found is not None:
            cards.move_to_end(key)
        return found

    def put(self, key: str, found: CardEntry) -> None:
        """Remember a card, unless a newer one is remembered already."""
        self.version += 1
        cards = self._cards[key[0]]
        known = cards.get(key)
        if known is not None:
            if known.revision > found.revision:
                return
            self.changes += 1
        cards[key] = found
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
        """Forget everything but the floor: nothing is known to be current."""
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
        """Redis failed, was emptied or went back in time: not believed until it was compared."""
        if self.believed:
            self.believed = False
            self.epoch += 1
            self._fresh_until = 0.0

    def begin(self, generation: str, revision: int) -> None:
        """A generation not seen before: whatever is remembered belongs to another.

        Only here may the floor sink: that is how a database restored from a backup is told from one that lags.
        """
        self.clear()
        self.generation, self.revision = generation, revision
        if generation != self._lineage:
            self._past.append(self._lineage)
            self._lineage, self.floor = generation, revision
        self.met(revision)

    def behind(self, generation: str, revision: int) -> bool:
        """Whether such a head is one from the past: of this generation and below the floor, or of an earlier generation.

        A replica that had not heard of everything has such a head after a failover.
        """
        if generation == self._lineage:
            return revision < self.floor
        return generation in self._past

    def met(self, revision: int) -> None:
        """Somebody whom this process believes stands at `revision`."""
        self.floor = max(self.floor, revision)

    def advance(self, revision: int, changed: Iterable[str] | None) -> None:
        """Redis moved on to `revision`; `changed` cards are stale, or all of them (None: the log has a gap)."""
        self.version += 1
        self.changes += 1
        if changed is None:
            for cards in self._cards.values():
                cards.clear()
        else:
            self.drop(changed)
        self.revision = revision
        self.met(revision)
        self._settle(revision)

    def _settle(self, revision: int) -> None:
        """Take out of the overlay what Redis has by now."""
        done = [key for key, found in self.overlay.items() if found.revision <= revision]
        self.drop(done)
        for key in done:
            del self.overlay[key]

    def believe(self, generation: str, revision: int, newer: dict[str, CardEntry]) -> None:
        """Redis was compared with the database: its head, and the cards the database has newer than it."""
        if generation != self.generation:
            self.begin(generation, revision)
        elif revision < self.revision and not self.believed:
            self.revision = revision  # memory followed the database further than Redis came
        self.version += 1
        self.changes += 1
        self.overlay = newer
        self._settle(self.revision)
        if not self.believed:
            self.believed = True
            self.epoch += 1

    # The database -----------------------------------------------------------------------------------

    def follow(self, revision: int, changed: dict[str, CardEntry] | None, at: float) -> None:
        """The database stood at `revision` at `at` (monotonic seconds); None: too much changed to tell."""
        if changed is None or revision < self.revision:
            self.clear()
        else:
            for key, found in changed.items():
                if key in self._cards.get(key[:1], ()):
                    self.put(key, found)
        self.version += 1
        self.changes += 1
        self.met(revision)
        self.overlay.clear()
        if revision != self.revision:
            self.revision = revision
            self.epoch += 1
        self._fresh_until = at + FRESH_SECONDS

    def fresh(self, at: float) -> bool:
        """Whether memory agrees with the database closely enough to answer from."""
        return at < self._fresh_until
