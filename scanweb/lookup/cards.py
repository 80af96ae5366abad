"""The cards that one code depends on, the query for them and the result."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from scanweb.lookup.memory import CardEntry
from scanweb.lookup.seals import CheckedCode
from zpcode.wire.card import BatchCard, History, LotCard, ProductCard, Timeline
from zpcode.wire.payload import check_matches
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import Scope, State

GetEntry = Callable[[str], CardEntry | None]


class ScanRequest(msgspec.Struct, frozen=True, gc=False):
    """Who scans and when: `now` in seconds since 1970, the visitor's mark (8 bytes), the city, whether the view may count."""

    now: int
    visitor: bytes = b""
    city: str = ""
    counts: bool = False


class Cards:
    """The cards a code depends on, and the keys of those still missing. Shared by all codes with the same keys.

    `timelines` are the standings among them; `keys` are the timelines of signing keys. `outcomes` is a cache of the
    resolver: outcomes that depend on these cards only.
    """

    __slots__ = ("batch", "keys", "lot", "missing", "outcomes", "permutation", "product", "timelines")

    def __init__(self) -> None:
        self.product: ProductCard | None = None
        self.batch: BatchCard | None = None
        self.lot: LotCard | None = None
        self.permutation: Permutation | None = None
        self.timelines: tuple[tuple[Scope, Timeline], ...] = ()
        self.keys: tuple[Timeline, ...] = ()
        self.missing: list[str] = []
        self.outcomes: dict[Hashable, Any] = {}

    @classmethod
    def collect(cls, keys: Sequence[str], get: GetEntry) -> Cards:
        """The cards under these keys, and the standings that those cards need."""
        cards = cls()
        timelines: list[tuple[Scope, Timeline]] = []
        for key in keys:
            entry = get(key)
            if entry is None:
                cards.missing.append(key)
                continue
            cards._take(key, entry, timelines)
            for scope, needed in entry.needs:
                standing = get(needed)
                if standing is None:
                    cards.missing.append(needed)
                elif type(standing.card) is Timeline:
                    timelines.append((scope, standing.card))
        cards.timelines = tuple(timelines)
        cards.keys = tuple(timeline for scope, timeline in timelines if scope is Scope.KEY)
        return cards

    def _take(self, key: str, entry: CardEntry, timelines: list[tuple[Scope, Timeline]]) -> None:
        card = entry.card
        if type(card) is ProductCard:
            self.product = card
        elif type(card) is BatchCard:
            self.batch, self.permutation = card, entry.permutation
        elif type(card) is LotCard:
            self.lot = card
        elif type(card) is Timeline:
            timelines.append((Scope(key.split(":", 2)[1]), card))

    def item(self, checked: CheckedCode) -> int | None:
        """The index of the item in its batch; None where the code does not fit the batch, or there is no item."""
        identity, batch, permutation = checked.code.identity, self.batch, self.permutation
        serial = identity.serial
        if serial is None or batch is None or permutation is None:
            return None
        index = checked.index
        if index is None or checked.permutation is not permutation:
            checked.permutation = permutation
            index = checked.index = permutation.index(serial.slot)
        if index >= batch.quantity or batch.gtin != identity.gtin or batch.level != checked.level:
            return None
        if identity.check is not None and not check_matches(batch.check_key, identity):
            return None
        return index

    def key_revoked(self, now: int) -> bool:
        """Whether the key that signed the code is revoked at `now`."""
        states = [timeline.at(now) for timeline in self.keys]
        return any(standing is not None and standing.state is State.REVOKED for standing in states)


class LookupResult(msgspec.Struct, frozen=True):
    """What a lookup read. `own` is the item's own timeline; `counted`: this view is to be counted in the item's history.

    `confirmed`: Redis or the database confirmed that the cards are current.
    """

    cards: Cards
    confirmed: bool = True
    index: int | None = None
    own: Timeline | None = None
    history: History | None = None
    counted: bool = False


class CodeQuery(msgspec.Struct):
    """The lookup of one code. `nonexistent` are keys under which the database has no card."""

    checked: CheckedCode
    request: ScanRequest
    nonexistent: frozenset[str] = frozenset()

    def collect(self, get: GetEntry) -> Cards:
        """The code's cards; `missing` are the keys that may exist and that `get` does not have."""
        cards = Cards.collect(self.checked.keys, get)
        if cards.missing and self.nonexistent:
            cards.missing = [key for key in cards.missing if key not in self.nonexistent]
        return cards
