"""What is known of one code: who asks, the cards it hangs on, what is missing among them, and what was found of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from scanweb.lookup.memory import CardEntry
from scanweb.lookup.seals import Checked
from zpcode.wire.card import BatchCard, History, LotCard, ProductCard, Timeline
from zpcode.wire.payload import check_matches
from zpcode.wire.permutation import Permutation
from zpcode.wire.vocabulary import Scope, State

Get = Callable[[str], CardEntry | None]


class ScanRequest(msgspec.Struct, frozen=True, gc=False):
    """Who looks and when: seconds since 1970, the visitor's mark (8 bytes), the city, whether it may count."""

    now: int
    visitor: bytes = b""
    city: str = ""
    counts: bool = False


class Cards:
    """The cards at hand that a code hangs on, and the keys of those still missing. Shared by all codes with these keys.

    `timelines` are the standings among them, of which `keys` are those of a signing key. `settled` is room for
    what follows from these cards alone, for whoever works it out.
    """

    __slots__ = ("batch", "keys", "lot", "missing", "permutation", "product", "settled", "timelines")

    def __init__(self) -> None:
        self.product: ProductCard | None = None
        self.batch: BatchCard | None = None
        self.lot: LotCard | None = None
        self.permutation: Permutation | None = None
        self.timelines: tuple[tuple[Scope, Timeline], ...] = ()
        self.keys: tuple[Timeline, ...] = ()
        self.missing: list[str] = []
        self.settled: dict[Hashable, Any] = {}

    @classmethod
    def gather(cls, keys: Sequence[str], get: Get) -> Cards:
        """What `get` has of these cards and of the standings they name in turn."""
        cards = cls()
        timelines: list[tuple[Scope, Timeline]] = []
        for key in keys:
            found = get(key)
            if found is None:
                cards.missing.append(key)
                continue
            cards._take(key, found, timelines)
            for scope, needed in found.needs:
                standing = get(needed)
                if standing is None:
                    cards.missing.append(needed)
                elif type(standing.card) is Timeline:
                    timelines.append((scope, standing.card))
        cards.timelines = tuple(timelines)
        cards.keys = tuple(timeline for scope, timeline in timelines if scope is Scope.KEY)
        return cards

    def _take(self, key: str, found: CardEntry, timelines: list[tuple[Scope, Timeline]]) -> None:
        card = found.card
        if type(card) is ProductCard:
            self.product = card
        elif type(card) is BatchCard:
            self.batch, self.permutation = card, found.permutation
        elif type(card) is LotCard:
            self.lot = card
        elif type(card) is Timeline:
            timelines.append((Scope(key.split(":", 2)[1]), card))

    def item(self, checked: Checked) -> int | None:
        """The index of an item that exists and is what it says; None otherwise."""
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
        """Whether the key the code was signed with is revoked at `now`."""
        states = [timeline.at(now) for timeline in self.keys]
        return any(standing is not None and standing.state is State.REVOKED for standing in states)


class Known(msgspec.Struct, frozen=True):
    """All that was found. `own` is the item's own timeline; `counted` says that this view belongs in its history."""

    cards: Cards
    confirmed: bool = True
    index: int | None = None
    own: Timeline | None = None
    history: History | None = None
    counted: bool = False


class Question(msgspec.Struct):
    """One code being looked up, and what is known so far not to exist."""

    checked: Checked
    viewing: ScanRequest
    nothing: frozenset[str] = frozenset()

    def gather(self, get: Get) -> Cards:
        """The cards `get` has of this code; missing are those of which it is not known that they do not exist."""
        cards = Cards.gather(self.checked.keys, get)
        if cards.missing and self.nothing:
            cards.missing = [key for key in cards.missing if key not in self.nothing]
        return cards
