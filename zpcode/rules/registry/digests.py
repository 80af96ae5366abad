"""The digests of the registry's records for the audit log, and which records a product's card is derived from.

A product has up to six records: its own fields with its links and the numbers of its recognitions, its three lists, and its two
stored pictures. Each is written as a whole, so the digest of one never covers what its writer has not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, partial
from typing import Any, Final

import msgspec

from zpcode.rules.record_digest import digest
from zpcode.rules.registry.records import Product, Registry, StoredPicture

PRODUCTS: Final = "products"
LISTS: Final = ("indicators", "commitments", "claims")
PICTURES: Final = ("image", "mark")
"""The kinds of the stored pictures: the fields of the registry with their file names."""
KINDS: Final = {
    "enterprises": "enterprise",
    "standards": "standard",
    "bodies": "body",
    "certificates": "certificate",
    "recognitions": "recognition",
}
"""The kind of the records of each entity with one record for each key, as in their names; without products."""
OF_PRODUCT: Final = ("product", *LISTS, *PICTURES)
"""The kinds of the records of a product; its GTIN is the key of each."""
_DEVELOPED: Final = tuple(f"{column}_developed" for column in PICTURES)
_REQUIRED: Final = object()


def name(plural: str, key: str) -> str:
    """The name in the log of a record of an entity, or of a list of a product: `certificate:ZM-1`, `indicators:0950…`."""
    return f"{'product' if plural == PRODUCTS else KINDS.get(plural, plural)}:{key}"


def digests(registry: Registry, names: Collection[str]) -> dict[str, str]:
    """The digests of those of these records that are in the registry, by name. It must have all recognitions of each product.

    What a product does not have, such as claims, has no digest.
    """
    return {one: make() for one, make in _each(registry) if one in names}


def _each(registry: Registry) -> Iterator[tuple[str, Callable[[], str]]]:
    """The name of each record, and what makes its digest."""
    for plural, kind in KINDS.items():
        for key, record in getattr(registry, plural).items():
            yield f"{kind}:{key}", partial(_record_digest, kind, record)
    for plural in LISTS:
        for gtin, records in getattr(registry, plural).items():
            if records:
                yield f"{plural}:{gtin}", partial(_list_digest, plural, gtin, records)
    numbers = _numbers(registry)
    for gtin, product in registry.products.items():
        yield f"product:{gtin}", partial(_product_digest, product, numbers.get(gtin, ()))
        for column in PICTURES:
            if (picture := getattr(product, f"{column}_developed")) is not None:
                yield f"{column}:{gtin}", partial(_picture_digest, column, gtin, picture)


def _record_digest(kind: str, record: msgspec.Struct) -> str:
    return digest(kind, fields(record))


def _list_digest(plural: str, gtin: str, records: Iterable[msgspec.Struct]) -> str:
    return digest(plural, {"gtin": gtin, "rows": [fields(one) for one in records]})


def _product_digest(product: Product, recognitions: Iterable[str]) -> str:
    """The digest of a product's own fields, its links and the numbers of its recognitions; without its stored pictures."""
    own = {one: value for one, value in fields(product).items() if one not in _DEVELOPED}
    return digest("product", own | {"recognitions": sorted(recognitions)})


def _picture_digest(column: str, gtin: str, picture: StoredPicture) -> str:
    return digest(column, fields(picture) | {"gtin": gtin})


def fields(record: msgspec.Struct) -> dict[str, Any]:
    """The fields of a record as JSON, without those that have their default: a new field with a default changes no digest."""
    defaults = _defaults(type(record))
    values = {one: getattr(record, one) for one in record.__struct_fields__}
    return {one: msgspec.to_builtins(value) for one, value in values.items() if value != defaults.get(one, _REQUIRED)}


@cache
def _defaults(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    given = kind.__struct_defaults__
    return dict(zip(kind.__struct_fields__[-len(given) :], given, strict=True)) if given else {}


def _numbers(registry: Registry) -> Mapping[str, list[str]]:
    """The numbers of the recognitions by GTIN."""
    numbers: defaultdict[str, list[str]] = defaultdict(list)
    for one in registry.recognitions.values():
        numbers[one.gtin].append(one.number)
    return numbers


def sources(registry: Registry, gtins: Collection[str]) -> dict[str, set[str]]:
    """The names of the records that the card of each of these products is derived from, by GTIN.

    The registry must have the products with everything they refer to.
    """
    numbers = _numbers(registry)
    present = [gtin for gtin in gtins if gtin in registry.products]
    return {gtin: set(_sources(registry, registry.products[gtin], numbers.get(gtin, ()))) for gtin in present}


def _sources(registry: Registry, product: Product, recognitions: Iterable[str]) -> Iterator[str]:
    yield from (f"{kind}:{product.gtin}" for kind in OF_PRODUCT)
    yield name("enterprises", product.uscc)
    yield from (name("standards", number) for number in product.standards)
    certificates = {*product.certificates}
    for number in recognitions:
        yield name("recognitions", number)
        certificates |= {registry.recognitions[number].certificate} - {""}
    for number in certificates:
        yield name("certificates", number)
        if (certificate := registry.certificates.get(number)) is not None:
            yield name("bodies", certificate.body_code)
