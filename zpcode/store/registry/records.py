"""The records of the registry: read with everything they refer to, written by key; which products a record affects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ARRAY, CHAR, Column, Connection, Table, any_, delete, or_, select, update
from sqlalchemy import Text as SqlText
from sqlalchemy import literal as sql_literal
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.elements import ColumnElement

from zpcode.rules.registry.layout import SHEETS, Sheet
from zpcode.rules.registry.records import Product, Record, Registry, Standard, StoredPicture
from zpcode.store import locks
from zpcode.store.locks import Lock
from zpcode.store.tables import registry

TABLES: Final[Mapping[str, Table]] = {
    "enterprises": registry.enterprise,
    "standards": registry.standard,
    "bodies": registry.certification_body,
    "certificates": registry.certificate,
    "products": registry.product,
    "recognitions": registry.recognition,
    "indicators": registry.indicator,
    "commitments": registry.commitment,
    "claims": registry.claim,
}
_LINKS: Final = {"standards": registry.product_standard, "certificates": registry.product_certificate}
_SHEET: Final = {sheet.plural: sheet for sheet in SHEETS}
_R = TypeVar("_R", bound=Record)


def lock_imports(connection: Connection) -> None:
    """Take the lock for imports until the transaction ends: no other import changes what this one has checked."""
    locks.hold(connection, Lock.IMPORT)


def _among(column: Column[Any], keys: Collection[str]) -> ColumnElement[bool]:
    """`column = ANY(array)`: one parameter for any number of keys; IN would need one for each."""
    length = getattr(column.type, "length", None)
    kind = CHAR(length) if length else SqlText()
    return column == any_(sql_literal(sorted(keys), ARRAY(kind)))


def _record(kind: type[_R], row: Mapping[Any, Any]) -> _R:
    values = {name: row[name] for name in kind.__struct_fields__ if row.get(name) is not None}
    return msgspec.convert(values, kind)


def _by_key(connection: Connection, plural: str, keys: Collection[str]) -> dict[str, Any]:
    """The records of an entity with these keys, by key, in order."""
    sheet, table = _SHEET[plural], TABLES[plural]
    if not keys:
        return {}
    rows = connection.execute(select(table).where(_among(table.c[sheet.key], keys)).order_by(table.c[sheet.key]))
    return {row[sheet.key]: _record(sheet.record, row) for row in rows.mappings()}


def _lists(connection: Connection, plural: str, gtins: Collection[str]) -> dict[str, tuple[Any, ...]]:
    sheet, table = _SHEET[plural], TABLES[plural]
    by_gtin: defaultdict[str, list[Any]] = defaultdict(list)
    query = select(table).where(_among(table.c.gtin, gtins)).order_by(table.c.gtin, table.c.position)
    for row in connection.execute(query).mappings():
        by_gtin[row["gtin"]].append(_record(sheet.record, row))
    return {gtin: tuple(records) for gtin, records in by_gtin.items()}


def _products(connection: Connection, gtins: Collection[str]) -> dict[str, Product]:
    table = registry.product
    links: dict[str, defaultdict[str, list[str]]] = {}
    for name, link in _LINKS.items():
        links[name] = defaultdict(list)
        query = select(link).where(_among(link.c.gtin, gtins)).order_by(link.c.gtin, link.c.position)
        for row in connection.execute(query):
            links[name][row.gtin].append(row.number)
    rows = connection.execute(select(table).where(_among(table.c.gtin, gtins)).order_by(table.c.gtin)).mappings()
    return {
        row["gtin"]: _record(Product, {**row, **{name: numbers[row["gtin"]] for name, numbers in links.items()}})
        for row in rows
    }


def load(connection: Connection, gtins: Collection[str], also: Registry | None = None) -> Registry:
    """These products with everything they refer to, and the stored records that have the same keys as those of `also`.

    The number of statements does not depend on the number of products.
    """
    others = also or Registry()
    recognitions = _by_key(connection, "recognitions", others.recognitions)
    recognitions |= _recognitions_of(connection, gtins)
    products = _products(connection, gtins)
    certificates = _by_key(
        connection,
        "certificates",
        {
            *others.certificates,
            *(number for product in products.values() for number in product.certificates),
            *(one.certificate for one in recognitions.values() if one.certificate),
            *(number for product in others.products.values() for number in product.certificates),
            *(one.certificate for one in others.recognitions.values() if one.certificate),
        },
    )
    owned = (*products.values(), *others.products.values(), *certificates.values(), *others.certificates.values())
    standards = {number for one in (*products.values(), *others.products.values()) for number in one.standards}
    bodies = {one.body_code for one in (*certificates.values(), *others.certificates.values())}
    return Registry(
        enterprises=_by_key(connection, "enterprises", {*others.enterprises, *(one.uscc for one in owned)}),
        standards=_by_key(connection, "standards", {*others.standards, *standards}),
        bodies=_by_key(connection, "bodies", {*others.bodies, *bodies}),
        certificates=certificates,
        products=products,
        recognitions=recognitions,
        indicators=_lists(connection, "indicators", gtins),
        commitments=_lists(connection, "commitments", gtins),
        claims=_lists(connection, "claims", gtins),
    )


def of_entity(connection: Connection, plural: str, keys: Collection[str]) -> Registry:
    """The records of one entity with these keys; products with their lists and recognitions, as their digests need them."""
    if plural != "products":
        return Registry(**{plural: _by_key(connection, plural, keys)})
    return Registry(
        products=_products(connection, keys),
        recognitions=_recognitions_of(connection, keys),
        indicators=_lists(connection, "indicators", keys),
        commitments=_lists(connection, "commitments", keys),
        claims=_lists(connection, "claims", keys),
    )


def keys_after(connection: Connection, plural: str, after: str, limit: int) -> list[str]:
    """Up to `limit` keys of an entity that follow `after`, in order; from the first for an empty key."""
    key = TABLES[plural].c[_SHEET[plural].key]
    return list(connection.execute(select(key).where(key > after).order_by(key).limit(limit)).scalars())


def existing(connection: Connection, plural: str, keys: Collection[str]) -> set[str]:
    """Those of these keys of an entity that have a record."""
    key = TABLES[plural].c[_SHEET[plural].key]
    return set(connection.execute(select(key).where(_among(key, keys))).scalars())


def _recognitions_of(connection: Connection, gtins: Collection[str]) -> dict[str, Any]:
    table = registry.recognition
    rows = connection.execute(select(table.c.number).where(_among(table.c.gtin, gtins))).scalars()
    return _by_key(connection, "recognitions", set(rows))


def reached_by(connection: Connection, plural: str, keys: Collection[str]) -> set[str]:
    """The GTINs of the products whose card shows, or whose rules read, any of these records."""
    if not keys:
        return set()
    if plural == "bodies":
        table = registry.certificate
        numbers = connection.execute(select(table.c.number).where(_among(table.c.body_code, keys))).scalars()
        return reached_by(connection, "certificates", set(numbers))
    recognition, product = registry.recognition, registry.product
    queries = {
        "enterprises": [select(product.c.gtin).where(_among(product.c.uscc, keys))],
        "recognitions": [select(recognition.c.gtin).where(_among(recognition.c.number, keys))],
        "certificates": [
            select(registry.product_certificate.c.gtin).where(_among(registry.product_certificate.c.number, keys)),
            select(recognition.c.gtin).where(_among(recognition.c.certificate, keys)),
        ],
        "standards": [select(registry.product_standard.c.gtin).where(_among(registry.product_standard.c.number, keys))],
    }
    by_gtin = [select(product.c.gtin).where(_among(product.c.gtin, keys))]
    return {gtin for query in queries.get(plural, by_gtin) for gtin in connection.execute(query).scalars()}


def stored_pictures(connection: Connection, gtins: Collection[str] | None = None) -> list[StoredPicture]:
    """The pictures of these products; of all products if `gtins` is None."""
    columns = (registry.product.c.image_developed, registry.product.c.mark_developed)
    pictures: list[StoredPicture] = []
    for column in columns:
        query = select(column).where(column.is_not(None))
        if gtins is not None:
            query = query.where(_among(registry.product.c.gtin, gtins))
        pictures += [msgspec.convert(value, StoredPicture) for value in connection.execute(query).scalars()]
    return pictures


def set_picture(connection: Connection, gtin: str, column: str, picture: StoredPicture | None, now: datetime) -> None:
    """Store a product's picture in its column `image` or `mark`; None removes the picture and its file name."""
    values: dict[str, Any] = {f"{column}_developed": _column(picture), "updated_at": now}
    if picture is None:
        values[column] = ""
    connection.execute(update(registry.product).where(registry.product.c.gtin == gtin).values(values))


def all_gtins(connection: Connection) -> list[str]:
    """The GTINs of all products, in order."""
    return list(connection.execute(select(registry.product.c.gtin).order_by(registry.product.c.gtin)).scalars())


def gtins_turning(connection: Connection, since: date, today: date) -> list[str]:
    """The GTINs of products with a recognition that began or ended after the date `since`, up to and including `today`.

    A recognition is valid through its last day: one that was valid to yesterday ended today.
    """
    table = registry.recognition
    day = timedelta(days=1)
    query = select(table.c.gtin).where(
        or_(table.c.valid_from.between(since + day, today), table.c.valid_to.between(since, today - day))
    )
    return sorted(set(connection.execute(query).scalars()))


def _row(record: Any, **more: Any) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in record.__struct_fields__}
    return {name: _column(value) for name, value in values.items()} | more


def _column(value: Any) -> Any:
    return msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value


def save(connection: Connection, plural: str, records: Iterable[Any], now: datetime) -> None:
    """Write records of one entity by key, the new and the changed alike. A changed standard's former
    version has to be kept first (`keep_versions`); a product's links are replaced.
    """
    table = TABLES[plural]
    written = list(records)
    names = {column.name for column in table.columns}
    _upsert(
        connection,
        table,
        _SHEET[plural],
        [{name: value for name, value in _row(record, updated_at=now).items() if name in names} for record in written],
    )
    if plural == "products":
        for name, link in _LINKS.items():
            _relink(connection, link, {product.gtin: getattr(product, name) for product in written})


def _upsert(connection: Connection, table: Table, sheet: Sheet, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if table is registry.recognition:
            row["certificate"] = row["certificate"] or None  # a foreign key: no certificate is NULL
    if rows:
        statement = insert(table)
        changed = {name: statement.excluded[name] for name in rows[0] if name != sheet.key}
        connection.execute(statement.on_conflict_do_update(index_elements=[table.c[sheet.key]], set_=changed), rows)


def _relink(connection: Connection, link: Table, numbers: Mapping[str, tuple[str, ...]]) -> None:
    connection.execute(delete(link).where(_among(link.c.gtin, numbers)))
    _insert(
        connection,
        link,
        [
            {"gtin": gtin, "number": number, "position": position}
            for gtin, listed in numbers.items()
            for position, number in enumerate(listed, 1)
        ],
    )


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def replace_lists(connection: Connection, plural: str, lists: Mapping[str, tuple[Any, ...]]) -> None:
    """Replace all indicators, commitments or claims of these products; rows keep their order."""
    table = TABLES[plural]
    connection.execute(delete(table).where(_among(table.c.gtin, lists)))
    rows = [_row(one, position=position) for listed in lists.values() for position, one in enumerate(listed, 1)]
    _insert(connection, table, rows)


def keep_versions(connection: Connection, standards: Iterable[Standard], now: datetime) -> None:
    """Store the present versions of standards before they are changed."""
    rows = [
        {"number": one.number, "version": one.version, "record": msgspec.to_builtins(one), "replaced_at": now}
        for one in standards
    ]
    _insert(connection, registry.standard_version, rows)
