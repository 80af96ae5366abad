"""The kinds of records that the audit log has digests of, and how each is read from the database.

A name is the kind, a colon and the key: `certificate:ZM-1`, `batch:7`, `complaint-contact:TS-…`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from zpcode.rules.batches import batch as batch_rules
from zpcode.rules.complaints import digests as complaint_digests
from zpcode.rules.complaints.digests import COMPLAINT, CONTACT, PHOTOS
from zpcode.rules.record_digest import digest
from zpcode.rules.registry import digests as registry_digests
from zpcode.store import batches, complaints, recovery, recovery_held
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity
from zpcode.store.registry import records as registry
from zpcode.wire.payload import MAX_BATCH

PAGE: Final = 500
Digests = dict[str, str]


@dataclass(frozen=True, slots=True)
class RecordKind:
    """One kind of records.

    `kinds` are the first parts of their names: the records of a product have several. `keys` gives the keys of all stored records,
    at most 500 at a time. `read` gives the digests of the records with these keys, by name.
    """

    kinds: tuple[str, ...]
    keys: Callable[[Connection], Iterator[list[str]]]
    read: Callable[[Connection, Collection[str]], Digests]

    def stored(self, connection: Connection, names: Collection[str]) -> Digests:
        """The digests of the records with these names, by name; names without a record are left out."""
        read = self.read(connection, sorted({name.partition(":")[2] for name in names}))
        return {name: digest for name, digest in read.items() if name in names}


def _pages(after: Callable[[str], list[str]]) -> Iterator[list[str]]:
    last = ""
    while keys := after(last):
        yield keys
        last = keys[-1]


def _registry_keys(plural: str, connection: Connection) -> Iterator[list[str]]:
    return _pages(lambda last: registry.keys_after(connection, plural, last, PAGE))


def _registry_digests(plural: str, kinds: Sequence[str], connection: Connection, keys: Collection[str]) -> Digests:
    names = {f"{kind}:{key}" for kind in kinds for key in keys}
    return registry_digests.digests(registry.of_entity(connection, plural, keys), names)


def _of_entity(plural: str, kinds: tuple[str, ...]) -> RecordKind:
    return RecordKind(kinds, partial(_registry_keys, plural), partial(_registry_digests, plural, kinds))


def _batch_keys(connection: Connection) -> Iterator[list[str]]:
    return ([str(batch.number) for batch in chunk] for chunk in integrity.every_batch(connection))


def _batch_digests(connection: Connection, keys: Collection[str]) -> Digests:
    stored = batches.numbered(connection, [int(key) for key in keys if key.isdecimal() and int(key) <= MAX_BATCH])
    return {batch_rules.record_name(one.number): batch_rules.record_digest(one) for one in stored}


def _complaint_keys(connection: Connection) -> Iterator[list[str]]:
    return _pages(lambda last: complaints.numbers_after(connection, last, PAGE))


def _complaint_digests(connection: Connection, keys: Collection[str]) -> Digests:
    rows = complaints.record_rows(connection, keys)
    return {f"{COMPLAINT}:{number}": complaint_digests.complaint_digest(*row) for number, row in rows.items()}


def _contact_digests(connection: Connection, keys: Collection[str]) -> Digests:
    rows = complaints.contact_rows(connection, keys)
    return {f"{CONTACT}:{number}": complaint_digests.contact_digest(number, *row) for number, row in rows.items()}


def _photo_digests(connection: Connection, keys: Collection[str]) -> Digests:
    hashes = complaints.photo_hashes(connection, keys)
    return {f"{PHOTOS}:{number}": complaint_digests.photos_digest(number, each) for number, each in hashes.items()}


def _few(read: Callable[[Connection], Digests], kind: str) -> RecordKind:
    """A kind with few records, which are read together."""

    def keys(connection: Connection) -> Iterator[list[str]]:
        listed = [name.removeprefix(f"{kind}:") for name in read(connection)]
        return (listed[start : start + PAGE] for start in range(0, len(listed), PAGE))

    def stored(connection: Connection, keys: Collection[str]) -> Digests:
        among = {f"{kind}:{key}" for key in keys}
        return {name: each for name, each in read(connection).items() if name in among}

    return RecordKind((kind,), keys, stored)


def kept_name(key: str) -> str:
    """The name of a product card that a recovery keeps."""
    return f"kept-card:{key}"


def lost_name(number: int) -> str:
    """The name of a batch whose record is lost."""
    return f"lost-batch:{number}"


def kept_cards(connection: Connection) -> Digests:
    """The digests of the product cards that a recovery keeps."""
    cards = recovery.kept_cards(connection)
    return {kept_name(key): digest("kept-card", {"key": key, "body": body.hex()}) for key, body in cards.items()}


def lost_batches(connection: Connection) -> Digests:
    """The digests of the batches whose record is lost, each with the card that Redis had of it, and whether it is proven."""
    lost, signed = recovery.lost_batches(connection), recovery.signed_batches(connection)
    fields = {
        number: {"number": number, "body": None if body is None else body.hex(), "signed": number in signed or None}
        for number, body in lost.items()
    }
    return {lost_name(number): digest("lost-batch", each) for number, each in fields.items()}


def held_decisions(connection: Connection) -> Digests:
    """The digests of what Redis showed of decisions and waits for a person; of one target there may be several."""
    timelines = defaultdict[str, list[list[str]]](list)
    for one in recovery_held.held_decisions(connection):
        timelines[f"held-decision:{one.scope}:{one.target}#{one.first}-{one.last}"].append(
            [one.kind, one.timeline.hex()]
        )
    return {
        name: digest("held-decision", {"name": name, "timelines": sorted(each)}) for name, each in timelines.items()
    }


def held_activations(connection: Connection) -> Digests:
    """The digests of what Redis showed of activations and waits for a person."""
    rows = recovery_held.stored_activations(connection)
    return {
        f"held-activation:{one.number}": digest("held-activation", {"number": one.number, "at": one.activated_at})
        for one in rows
    }


def of_recovery(connection: Connection) -> Digests:
    """The digests of everything that recoveries left for later."""
    every: Digests = {}
    for read in (kept_cards, lost_batches, held_decisions, held_activations):
        every |= read(connection)
    return every


REGISTRY: Final = (
    *(_of_entity(plural, (kind,)) for plural, kind in registry_digests.KINDS.items()),
    _of_entity(registry_digests.PRODUCTS, registry_digests.OF_PRODUCT),
)
BATCH: Final = RecordKind(("batch",), _batch_keys, _batch_digests)
COMPLAINTS: Final = RecordKind((COMPLAINT,), _complaint_keys, _complaint_digests)
REMOVABLE: Final = (
    RecordKind((CONTACT,), _complaint_keys, _contact_digests),
    RecordKind((PHOTOS,), _complaint_keys, _photo_digests),
)
"""What is deleted 180 days after the end of a complaint."""
KEPT_CARDS: Final = _few(kept_cards, "kept-card")
LOST_BATCHES: Final = _few(lost_batches, "lost-batch")
RECOVERY: Final = (
    KEPT_CARDS,
    LOST_BATCHES,
    _few(held_decisions, "held-decision"),
    _few(held_activations, "held-activation"),
)
EVERY: Final = (*REGISTRY, BATCH, COMPLAINTS, *REMOVABLE, *RECOVERY)
