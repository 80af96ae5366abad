"""Lists of enterprises and products within a caller's reach."""

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
    """Up to `limit` (1 … 200) enterprises within the caller's reach with a USCC greater than `after`, in order."""
    with transaction(engine) as connection:
        return listing.enterprises(connection, caller, after, page_size(limit))


def products(engine: Engine, caller: Caller, after: str = "", limit: int = 50) -> list[ProductCard]:
    """The cards of up to `limit` (1 … 200) products within the caller's reach with a GTIN greater than `after`, in order."""
    with transaction(engine) as connection:
        return listing.products(connection, caller, after, page_size(limit))


def product(engine: Engine, gtin: str, caller: Caller) -> ProductCard:
    """The card of one product. Raises NotFound if it does not exist or is not within the caller's reach."""
    with transaction(engine) as connection:
        card = stored_card(connection, product_key(gtin), ProductCard)
    if card is None or not caller.reaches(card.enterprise.uscc, card.enterprise.region):
        raise NotFound(Text(f"没有产品 {gtin}", f"there is no product {gtin}"))
    return card
