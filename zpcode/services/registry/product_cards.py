"""The cards of products: written by imports, when the date changes, and in a rebuild."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import date, datetime

import msgspec

from zpcode.rules.cards import product_card, with_kept
from zpcode.rules.registry.records import Recognition
from zpcode.store import cards, recovery
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.registry import records as store
from zpcode.wire import calendar
from zpcode.wire.card import ProductCard, product_key

_CHUNK = 500


def product_cards(
    connection: Connection, gtins: Collection[str], today: date, *, kept: bool = True
) -> dict[str, ProductCard]:
    """Derive the cards of these products for a date; unknown GTINs are left out.

    With `kept`, a card that a recovery keeps makes its product's card graver (`zpcode.rules.cards.with_kept`).
    """
    registry = store.load(connection, gtins)
    recognitions: defaultdict[str, list[Recognition]] = defaultdict(list)
    for one in registry.recognitions.values():
        recognitions[one.gtin].append(one)
    derived = {
        gtin: product_card(registry, product, recognitions[gtin], today) for gtin, product in registry.products.items()
    }
    bodies = recovery.kept_cards(connection, [product_key(gtin) for gtin in gtins]) if kept else {}
    for key, body in bodies.items():
        gtin = key[2:]
        derived[gtin] = with_kept(derived.get(gtin), msgspec.msgpack.decode(body, type=ProductCard))
    return derived


def write_cards(
    connection: Connection, gtins: Iterable[str], today: date, *, dry_run: bool = False, release: bool = False
) -> tuple[str, ...]:
    """Write those cards of these products that differ from the stored ones; return their GTINs.

    With `dry_run` nothing is written. With `release`, an import has brought the records of these products up to date: what a
    recovery keeps of them counts no longer (docs/recovery.md).
    """
    ordered, written = sorted(gtins), []
    if release and not dry_run:
        recovery.release_cards(connection, [product_key(gtin) for gtin in ordered])
    for start in range(0, len(ordered), _CHUNK):
        derived = product_cards(connection, ordered[start : start + _CHUNK], today, kept=not release)
        bodies = {product_key(gtin): msgspec.msgpack.encode(card) for gtin, card in derived.items()}
        stored = {card.key: card.body for card in cards.fetch(connection, list(bodies))}
        changed = {key: body for key, body in bodies.items() if stored.get(key) != body}
        if changed and not dry_run:
            cards.put_cards(connection, changed)
        written += [gtin for gtin in derived if product_key(gtin) in changed]
    return tuple(written)


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
        written = write_cards(connection, store.gtins_turning(connection, since, today), today)
        cards.turn(connection, today)
        return written


def rebuild_cards(engine: Engine, *, now: datetime) -> tuple[str, ...]:
    """Derive the cards of all products and write those that differ; return their GTINs."""
    with transaction(engine) as connection:
        return write_cards(connection, store.all_gtins(connection), calendar.today(now))
