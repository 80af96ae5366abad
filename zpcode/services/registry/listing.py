"""The registry for readers: an enterprise sees itself, a regulator the enterprises of its region."""

from __future__ import annotations

from zpcode.errors import NotFound, Text
from zpcode.rules.access import Caller
from zpcode.rules.paging import page_size
from zpcode.services.cards import stored_card
from zpcode.store.database.session import Engine, transaction
from zpcode.store.registry import listing
from zpcode.store.registry.listing import ListedEnterprise
from zpcode.wire.card import ProductCard, product_key

__all__ = ["ListedEnterprise", "enterprises", "product", "products"]


def enterprises(engine: Engine, caller: Caller, after: str = "", limit: int = 50) -> list[ListedEnterprise]:
    """Up to `limit` (1 … 200) enterprises within the caller's reach, by USCC, behind `after`."""
    with transaction(engine) as connection:
        return listing.enterprises(connection, caller, after, page_size(limit))


def products(engine: Engine, caller: Caller, after: str = "", limit: int = 50) -> list[ProductCard]:
    """The cards of up to `limit` (1 … 200) products within the caller's reach, by GTIN, behind `after`."""
    with transaction(engine) as connection:
        return listing.products(connection, caller, after, page_size(limit))


def product(engine: Engine, gtin: str, caller: Caller) -> ProductCard:
    """One product as a scan shows it. Raises NotFound where there is none, or none within the caller's reach."""
    with transaction(engine) as connection:
        card = stored_card(connection, product_key(gtin), ProductCard)
    if card is None or not caller.reaches(card.enterprise.uscc, card.enterprise.region):
        raise NotFound(Text(f"没有产品 {gtin}", f"there is no product {gtin}"))
    return card
