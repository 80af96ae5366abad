"""Pages of the enterprises and products within a caller's reach."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select

from zpcode.rules.access import Caller
from zpcode.store.reach import enterprise_within
from zpcode.store.tables.codes import card
from zpcode.store.tables.registry import enterprise, product
from zpcode.wire.card import ProductCard
from zpcode.wire.vocabulary import Bilingual


class ListedEnterprise(NamedTuple):
    """An enterprise in a list. `code_quota` None: no limit on item codes."""

    uscc: str
    name: Bilingual
    region: str
    industry: str
    code_quota: int | None


def enterprises(connection: Connection, caller: Caller, after: str, limit: int) -> list[ListedEnterprise]:
    """Up to `limit` enterprises within reach with a USCC greater than `after`, in order."""
    columns = enterprise.c
    query = select(columns.uscc, columns.name, columns.region, columns.industry, columns.code_quota)
    query = query.where(enterprise_within(caller), columns.uscc > after).order_by(columns.uscc).limit(limit)
    rows = connection.execute(query)
    return [
        ListedEnterprise(row.uscc, msgspec.convert(row.name, Bilingual), row.region, row.industry, row.code_quota)
        for row in rows
    ]


def products(connection: Connection, caller: Caller, after: str, limit: int) -> list[ProductCard]:
    """The cards of up to `limit` products within reach with a GTIN greater than `after`, in order."""
    query = select(card.c.body).join(product, card.c.key == "p:" + product.c.gtin)
    query = query.join(enterprise, enterprise.c.uscc == product.c.uscc)
    query = query.where(enterprise_within(caller), product.c.gtin > after).order_by(product.c.gtin).limit(limit)
    decode = msgspec.msgpack.Decoder(ProductCard).decode
    return [decode(body) for body in connection.execute(query).scalars()]
