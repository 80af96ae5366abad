"""The registry as a caller may read it: the enterprises and products within their reach, page by page."""

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
    """An enterprise as it is listed. `code_quota` None is no limit on item codes."""

    uscc: str
    name: Bilingual
    region: str
    industry: str
    code_quota: int | None


def enterprises(connection: Connection, caller: Caller, after: str, limit: int) -> list[ListedEnterprise]:
    """Up to `limit` enterprises within reach, by USCC, from the one behind `after` on."""
    columns = enterprise.c
    query = select(columns.uscc, columns.name, columns.region, columns.industry, columns.code_quota)
    query = query.where(enterprise_within(caller), columns.uscc > after).order_by(columns.uscc).limit(limit)
    rows = connection.execute(query)
    return [
        ListedEnterprise(row.uscc, msgspec.convert(row.name, Bilingual), row.region, row.industry, row.code_quota)
        for row in rows
    ]


def products(connection: Connection, caller: Caller, after: str, limit: int) -> list[ProductCard]:
    """The cards of up to `limit` products within reach, by GTIN, from the one behind `after` on."""
    query = select(card.c.body).join(product, card.c.key == "p:" + product.c.gtin)
    query = query.join(enterprise, enterprise.c.uscc == product.c.uscc)
    query = query.where(enterprise_within(caller), product.c.gtin > after).order_by(product.c.gtin).limit(limit)
    decode = msgspec.msgpack.Decoder(ProductCard).decode
    return [decode(body) for body in connection.execute(query).scalars()]
