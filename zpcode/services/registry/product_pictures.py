"""The picture of a product and the mark of its brand: stored or removed one at a time by the enterprise."""

from __future__ import annotations

import enum
from datetime import datetime
from threading import BoundedSemaphore
from typing import Final

from zpcode.errors import Conflict, Finding, NotFound, Text
from zpcode.rules.access import Caller, may_describe
from zpcode.rules.record_digest import mismatches
from zpcode.rules.registry import digests
from zpcode.rules.registry.records import StoredPicture
from zpcode.services.pictures import encode
from zpcode.services.pictures.decoder import PictureDecoder, busy
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry import listing
from zpcode.services.registry.product_cards import write_cards
from zpcode.store import record_log
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.record_log import NewEntry
from zpcode.store.registry import records as store
from zpcode.wire import calendar
from zpcode.wire.card import Picture

WAITING: Final = 8
"""The most pictures in this process that are being encoded or wait for it; further requests are refused as busy."""
_waiting = BoundedSemaphore(WAITING)


class PictureKind(enum.StrEnum):
    """The two pictures a product has."""

    PICTURE = "picture"
    MARK = "mark"

    @property
    def column(self) -> str:
        """The field of the registry with its file name."""
        return "image" if self is PictureKind.PICTURE else "mark"


def put(
    engine: Engine, storage: PictureStorage, gtin: str, kind: PictureKind, data: bytes, *, caller: Caller, now: datetime
) -> Picture:
    """Store a product's picture from a file (see `encode.encode_picture`). The same file again changes nothing.

    The file name from the registry file stays as it is: an import without a ZIP keeps this picture, and an import whose
    ZIP has a file with that name replaces it. Raises NotFound, Forbidden, Refused, Unavailable.
    """
    _check(engine, gtin, caller)
    encoded = _encode(data)
    storage.put(encoded.files)
    _write(engine, gtin, kind, StoredPicture(encode.source_of(data), encoded.picture), caller=caller, now=now)
    return encoded.picture


def remove(engine: Engine, gtin: str, kind: PictureKind, *, caller: Caller, now: datetime) -> None:
    """Remove a picture from a product; without a picture nothing changes. Raises NotFound, Forbidden, Unavailable."""
    _check(engine, gtin, caller)
    _write(engine, gtin, kind, None, caller=caller, now=now)


def _encode(data: bytes) -> encode.EncodedPicture:
    """Encode a picture, unless too many requests wait: each occupies one of the forty threads for all requests."""
    if not _waiting.acquire(blocking=False):
        raise busy()
    try:
        with PictureDecoder() as decoder:
            return decoder.encode(data)
    finally:
        _waiting.release()


def _check(engine: Engine, gtin: str, caller: Caller) -> None:
    listing.product(engine, gtin, caller)
    may_describe(caller)


def _write(
    engine: Engine, gtin: str, kind: PictureKind, picture: StoredPicture | None, *, caller: Caller, now: datetime
) -> None:
    with transaction(engine) as connection:
        store.lock_imports(connection)
        product = store.load(connection, [gtin]).products.get(gtin)
        if product is None:
            raise NotFound(Text(f"没有产品 {gtin}", f"there is no product {gtin}"))
        before = getattr(product, f"{kind.column}_developed")
        if before == picture:
            return
        detail = {"which": kind.value, "old": _digest(before), "new": _digest(picture)}
        own, pictured = digests.name(digests.PRODUCTS, gtin), digests.name(kind.column, gtin)
        if picture is None:
            _require_unaltered(connection, own)  # its file name is removed too
        store.set_picture(connection, gtin, kind.column, picture, now)
        written = [pictured] if picture is not None else [own, pictured]
        stored = _digests(connection, gtin)
        entry = NewEntry(now, caller.name, "product.picture", own, detail)
        record_log.append(connection, {name: stored.get(name) for name in written}, entry)
        write_cards(connection, [gtin], calendar.today(now), written=written)


def _digests(connection: Connection, gtin: str) -> dict[str, str]:
    names = {f"{kind}:{gtin}" for kind in digests.OF_PRODUCT}
    return digests.digests(store.of_entity(connection, digests.PRODUCTS, [gtin]), names)


def _require_unaltered(connection: Connection, name: str) -> None:
    """Raise Conflict if the product's own record differs from the log: its new digest would confirm what differs."""
    stored = {name: _digests(connection, name.partition(":")[2])[name]}
    wrong = mismatches(stored, record_log.logged(connection, [name]), covered=record_log.is_covered(connection))
    if any(one.is_alarming for one in wrong):
        text = Text(
            f"数据库中的记录 {name} 与审计日志不符，请联系平台运营方",
            f"the stored record {name} differs from the audit log: please contact the operator",
        )
        raise Conflict(text, (Finding("altered", text),))


def _digest(picture: StoredPicture | None) -> str:
    return "" if picture is None else picture.picture.digest
