"""The picture of a product and the mark of its brand: stored or removed one at a time by the enterprise."""

from __future__ import annotations

import enum
from datetime import datetime
from threading import BoundedSemaphore
from typing import Final

from zpcode.errors import NotFound, Text
from zpcode.rules.access import Caller, may_describe
from zpcode.rules.registry.records import StoredPicture
from zpcode.services.pictures import encode
from zpcode.services.pictures.decoder import PictureDecoder, busy
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.registry import listing
from zpcode.services.registry.product_cards import write_cards
from zpcode.store import audit
from zpcode.store.database.session import Engine, transaction
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
        audit.append(
            connection, at=now, actor=caller.name, action="product.picture", object_=f"product:{gtin}", detail=detail
        )
        store.set_picture(connection, gtin, kind.column, picture, now)
        write_cards(connection, [gtin], calendar.today(now))


def _digest(picture: StoredPicture | None) -> str:
    return "" if picture is None else picture.picture.digest
