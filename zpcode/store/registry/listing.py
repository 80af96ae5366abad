"""The registry as a caller may read it: the enterprises and products within their reach, page by page."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, Select, select

from zpcode.rules.access import Caller, Role, region_prefix
from zpcode.store.tables.codes import card
from zpcode.store.tables.registry import enterprise, product
from zpcode.wire.card import ProductCard
from zpcode.wire.vocabulary import Bilingual

Query = TypeVar("Query", bound=Select[Any])


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
    query = _within_reach(query, caller).where(columns.uscc > after).order_by(columns.uscc).limit(limit)
    rows = connection.execute(query)
    return [
        ListedEnterprise(row.uscc, msgspec.convert(row.name, Bilingual), row.region, row.industry, row.code_quota)
        for row in rows
    ]


def products(connection: Connection, caller: Caller, after: str, limit: int) -> list[ProductCard]:
    """The cards of up to `limit` products within reach, by GTIN, from the one behind `after` on."""
    query = select(card.c.body).join(product, card.c.key == "p:" + product.c.gtin)
    query = query.join(enterprise, enterprise.c.uscc == product.c.uscc)
    query = _within_reach(query, caller).where(product.c.gtin > after).order_by(product.c.gtin).limit(limit)
    decode = msgspec.msgpack.Decoder(ProductCard).decode
    return [decode(body) for body in connection.execute(query).scalars()]


def _within_reach(query: Query, caller: Caller) -> Query:
    if caller.role is Role.ENTERPRISE:
        return query.where(enterprise.c.uscc == caller.subject)
    if caller.role is Role.REGULATOR:
        return query.where(enterprise.c.region.startswith(region_prefix(caller.subject), autoescape=True))
    return query
