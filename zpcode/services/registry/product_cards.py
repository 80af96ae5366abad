"""The cards of products: written by imports, when the date changes, and in a rebuild."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

import msgspec

from zpcode.rules.cards import product_card, with_kept
from zpcode.rules.record_digest import mismatches
from zpcode.rules.registry import digests
from zpcode.rules.registry.records import Recognition, Registry
from zpcode.store import cards, record_log, recovery
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.registry import records as store
from zpcode.wire import calendar
from zpcode.wire.card import ProductCard, product_key

_CHUNK = 500
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CardChanges:
    """What a writer of product cards did, by GTIN.

    `written` are the products whose card changed. `withheld` are those whose card stays as it is, because records that it is
    derived from differ from the audit log, with the names of these records. `released` are the keys of kept cards that are kept no
    longer.
    """

    written: tuple[str, ...] = ()
    withheld: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    released: tuple[str, ...] = ()


def product_cards(
    connection: Connection, gtins: Collection[str], today: date, *, kept: bool = True
) -> dict[str, ProductCard]:
    """Derive the cards of these products for a date; unknown GTINs are left out.

    With `kept`, a card that a recovery keeps makes its product's card graver (`zpcode.rules.cards.with_kept`).
    """
    bodies = recovery.kept_cards(connection, [product_key(gtin) for gtin in gtins]) if kept else {}
    return _derived(store.load(connection, gtins), today, bodies)


def _derived(registry: Registry, today: date, kept: Mapping[str, bytes]) -> dict[str, ProductCard]:
    """The cards of the products of a registry. `kept` are the bodies of kept cards by key."""
    recognitions: defaultdict[str, list[Recognition]] = defaultdict(list)
    for one in registry.recognitions.values():
        recognitions[one.gtin].append(one)
    derived = {
        gtin: product_card(registry, product, recognitions[gtin], today) for gtin, product in registry.products.items()
    }
    for key, body in kept.items():
        gtin = key[2:]
        derived[gtin] = with_kept(derived.get(gtin), msgspec.msgpack.decode(body, type=ProductCard))
    return derived


def differing_records(connection: Connection, gtins: Collection[str]) -> dict[str, tuple[str, ...]]:
    """The products whose card must not be derived, by GTIN: records that it is derived from differ from the audit log.

    The values are the names of these records.
    """
    return _differing(connection, store.load(connection, gtins), gtins, ())


def _differing(
    connection: Connection, registry: Registry, gtins: Collection[str], written: Collection[str]
) -> dict[str, tuple[str, ...]]:
    sources = digests.sources(registry, gtins)
    names = {name for each in sources.values() for name in each} - set(written)
    if not names:
        return {}
    stored, logged = digests.digests(registry, names), record_log.logged(connection, names)
    every = mismatches(stored, logged, covered=record_log.is_covered(connection))
    wrong = {one.name for one in every if one.is_alarming}
    return {gtin: tuple(sorted(each & wrong)) for gtin, each in sources.items() if each & wrong}


def write_cards(
    connection: Connection,
    gtins: Iterable[str],
    today: date,
    *,
    dry_run: bool = False,
    release: bool = False,
    written: Collection[str] = (),
) -> CardChanges:
    """Write those cards of these products that differ from the stored ones.

    With `dry_run` nothing is written. With `release`, an import has brought the records of these products up to date: what a
    recovery keeps of them counts no longer (docs/recovery.md). A card stays as it is if a record that it is derived from differs
    from the audit log, so that a change past the service does not reach the scan page. `written` are the names of the records that
    this transaction writes or confirms.
    """
    ordered, changed, withheld = sorted(gtins), list[str](), dict[str, tuple[str, ...]]()
    kept = recovery.kept_cards(connection, [product_key(gtin) for gtin in ordered])
    if release and not dry_run:
        recovery.release_cards(connection, list(kept))
    for start in range(0, len(ordered), _CHUNK):
        part = _Part(connection, ordered[start : start + _CHUNK], today, {} if release else kept)
        withheld |= part.withheld(written)
        changed += part.write(withheld, dry_run=dry_run)
    for gtin, names in withheld.items():
        _logger.error("a product card is withheld", extra={"gtin": gtin, "records": list(names)})
    return CardChanges(tuple(changed), withheld, tuple(kept) if release else ())


class _Part:
    """Up to 500 products whose cards are compared with the stored ones, by GTIN."""

    def __init__(self, connection: Connection, gtins: Sequence[str], today: date, kept: Mapping[str, bytes]) -> None:
        self._connection, self._registry = connection, store.load(connection, gtins)
        of_these = {key: body for key, body in kept.items() if key[2:] in gtins}
        bodies = {
            gtin: msgspec.msgpack.encode(card) for gtin, card in _derived(self._registry, today, of_these).items()
        }
        stored = {card.key: card.body for card in cards.fetch(connection, [product_key(gtin) for gtin in bodies])}
        self._changed = {gtin: body for gtin, body in bodies.items() if stored.get(product_key(gtin)) != body}

    def withheld(self, written: Collection[str]) -> dict[str, tuple[str, ...]]:
        return _differing(self._connection, self._registry, list(self._changed), written)

    def write(self, withheld: Collection[str], *, dry_run: bool) -> list[str]:
        """Write the changed cards without those that are withheld; return their GTINs."""
        bodies = {product_key(gtin): body for gtin, body in self._changed.items() if gtin not in withheld}
        if bodies and not dry_run:
            cards.put_cards(self._connection, bodies)
        return [gtin for gtin in self._changed if gtin not in withheld]


def turn_cards(engine: Engine, *, now: datetime) -> tuple[str, ...]:
    """Update the product cards to today's date and return the GTINs of changed cards. One query if they are up to date.

    A card shows the recognition of its date. When the date changes in Asia/Shanghai, the cards of products whose
    recognition began or ended since then are written again.
    """
    today = calendar.today(now)
    with transaction(engine) as connection:
        since = cards.turned_on(connection)
        if since >= today:
            return ()
        changes = write_cards(connection, store.gtins_turning(connection, since, today), today)
        cards.turn(connection, today)
        return changes.written


def rebuild_cards(engine: Engine, *, now: datetime) -> CardChanges:
    """Derive the cards of all products and write those that differ."""
    with transaction(engine) as connection:
        return write_cards(connection, store.all_gtins(connection), calendar.today(now))
