"""How a product looks: its picture and its brand's mark, one at a time, as its enterprise sends them."""

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
"""Pictures under way or waiting to be, in this process; whoever comes then is asked to come again."""
_waiting = BoundedSemaphore(WAITING)


class Which(enum.StrEnum):
    """The two pictures a product has."""

    PICTURE = "picture"
    MARK = "mark"

    @property
    def column(self) -> str:
        """The registry's field that names its file."""
        return "image" if self is Which.PICTURE else "mark"


def place(
    engine: Engine, shelf: PictureStorage, gtin: str, which: Which, data: bytes, *, caller: Caller, now: datetime
) -> Picture:
    """Give a product a picture, from a file as `pictures.develop` takes it; the same file again changes nothing.

    The name of a file that a registry file gave it stays: an import without a ZIP leaves this picture, one with a
    file of that name replaces it. Raises NotFound, Forbidden, Refused, Unavailable.
    """
    _check(engine, gtin, caller)
    made = _developed(data)
    shelf.put(made.files)
    _write(engine, gtin, which, StoredPicture(encode.source_of(data), made.picture), caller=caller, now=now)
    return made.picture


def remove(engine: Engine, gtin: str, which: Which, *, caller: Caller, now: datetime) -> None:
    """Show a product without this picture; where it has none, nothing changes. Raises NotFound, Forbidden, Unavailable."""
    _check(engine, gtin, caller)
    _write(engine, gtin, which, None, caller=caller, now=now)


def _developed(data: bytes) -> encode.EncodedPicture:
    """The picture, where not too many wait for theirs: each holds one of the forty threads everybody's requests need."""
    if not _waiting.acquire(blocking=False):
        raise busy()
    try:
        with PictureDecoder() as darkroom:
            return darkroom.develop(data)
    finally:
        _waiting.release()


def _check(engine: Engine, gtin: str, caller: Caller) -> None:
    listing.product(engine, gtin, caller)
    may_describe(caller)


def _write(
    engine: Engine, gtin: str, which: Which, developed: StoredPicture | None, *, caller: Caller, now: datetime
) -> None:
    with transaction(engine) as connection:
        store.lock_imports(connection)
        known = store.load(connection, [gtin]).products.get(gtin)
        if known is None:
            raise NotFound(Text(f"没有产品 {gtin}", f"there is no product {gtin}"))
        before = getattr(known, f"{which.column}_developed")
        if before == developed:
            return
        detail = {"which": which.value, "old": _digest(before), "new": _digest(developed)}
        audit.append(
            connection, at=now, actor=caller.name, action="product.picture", object_=f"product:{gtin}", detail=detail
        )
        store.set_picture(connection, gtin, which.column, developed, now)
        write_cards(connection, [gtin], calendar.today(now))


def _digest(developed: StoredPicture | None) -> str:
    return "" if developed is None else developed.picture.digest
