"""Which cards must not be derived again: the records that they are derived from differ from the audit log.

`fsck --repair` would else spread what somebody has changed past the service to the scan page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from zpcode.rules.audit import Entry
from zpcode.rules.batches import log as batch_log
from zpcode.rules.batches.batch import record_name
from zpcode.rules.registry import digests
from zpcode.services.records import kinds
from zpcode.services.records.comparison import altered
from zpcode.services.registry.product_cards import differing_records
from zpcode.store import batches, notices
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity
from zpcode.wire.card import notices_key, product_key

Withheld = dict[str, set[str]]


def withheld_cards(connection: Connection, keys: Collection[str]) -> Withheld:
    """Those of these cards that must not be derived, with the names of the records that differ from the log."""
    withheld = _products(connection, [key[2:] for key in keys if key.startswith("p:")])
    withheld |= _batches(connection, [int(key[2:]) for key in keys if key.startswith("b:")])
    lots = [(gtin, lot) for gtin, _, lot in (key[2:].partition(":") for key in keys if key.startswith("l:"))]
    withheld |= _lots(connection, lots)
    if notices_key() in keys and (names := _notices(connection)):
        withheld[notices_key()] = names
    return withheld


def _products(connection: Connection, gtins: Collection[str]) -> Withheld:
    kept = altered(connection, kinds.KEPT_CARDS, [kinds.kept_name(product_key(gtin)) for gtin in gtins])
    withheld = {f"p:{gtin}": set(names) for gtin, names in differing_records(connection, gtins).items()}
    for name in kept:
        withheld.setdefault(name.partition(":")[2], set()).add(name)
    return withheld


def _batches(connection: Connection, numbers: Collection[int]) -> Withheld:
    names = {record_name(number): f"b:{number}" for number in numbers}
    wrong = _altered_batches(connection, names)
    lost = altered(connection, kinds.LOST_BATCHES, [kinds.lost_name(number) for number in numbers])
    return {names[name]: {name} for name in wrong} | {f"b:{name.partition(':')[2]}": {name} for name in lost}


def _altered_batches(connection: Connection, names: Iterable[str]) -> set[str]:
    """Those of these batches whose row differs from the log, in what was reserved or in what came later."""
    wanted = list(names)
    wrong = altered(connection, kinds.BATCH, wanted)
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in integrity.audit_entries(connection, wanted, batch_log.ACTIONS):
        entries[entry.object].append(entry)
    rows = batches.numbered(connection, [int(name.partition(":")[2]) for name in wanted])
    return wrong | {
        record_name(row.number) for row in rows if batch_log.differences(row, entries[record_name(row.number)])
    }


def _lots(connection: Connection, lots: Collection[tuple[str, str]]) -> Withheld:
    withheld: Withheld = {}
    for gtin, lot in lots:
        wrong = _altered_batches(connection, map(record_name, batches.numbers_of_lot(connection, gtin, lot)))
        if wrong:
            withheld[f"l:{gtin}:{lot}"] = wrong
    return withheld


def _notices(connection: Connection) -> set[str]:
    """The records that the card of notices takes names from and that differ from the log."""
    subjects = notices.names(connection, notices.published(connection))
    by_entity = {
        "products": subjects.products,
        "enterprises": subjects.enterprises,
        "standards": subjects.standards,
        "recognitions": subjects.recognitions,
        "certificates": subjects.certificates,
    }
    wrong = _altered_batches(connection, [f"batch:{number}" for number in subjects.batches])
    for kind in kinds.REGISTRY:
        names = [digests.name(plural, key) for plural, keys in by_entity.items() for key in keys]
        wrong |= altered(connection, kind, [name for name in names if name.partition(":")[0] in kind.kinds])
    return wrong
