"""Compare the stored pictures with those of the products: unused files are removed, missing ones reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from zpcode.services.pictures.storage import PictureStorage, StoredFile
from zpcode.store.database.session import Engine, transaction
from zpcode.store.registry import records as store
from zpcode.wire.card import Picture, picture_name

SPARED: Final = timedelta(days=1)
"""Younger files are kept, because they may belong to a running import."""
FORMS: Final = ("webp", "jpg")


@dataclass(frozen=True, slots=True)
class CleanUp:
    """The result. `orphans` are files older than a day that no product uses. `missing` are names of files that a product
    uses but that are not stored. `kept` is the number of all other files.
    """

    orphans: tuple[StoredFile, ...]
    missing: tuple[str, ...]
    kept: int


def compare(engine: Engine, storage: PictureStorage, *, now: datetime) -> CleanUp:
    """Compare the storage with the products, without a change. Raises Unavailable."""
    stored = list(storage.listing())  # before the products: files stored later are young
    with transaction(engine) as connection:
        used = {one.picture.digest: one.picture for one in store.stored_pictures(connection)}
    orphans = tuple(one for one in stored if one.digest not in used and now - one.stored_at > SPARED)
    present = {one.name for one in stored}
    missing = tuple(sorted(name for picture in used.values() for name in names(picture) if name not in present))
    return CleanUp(orphans, missing, len(stored) - len(orphans))


def names(picture: Picture) -> list[str]:
    """The names of all files of a picture."""
    return [picture_name(picture.digest, width, form) for width in picture.widths for form in FORMS]


def clean_up(engine: Engine, storage: PictureStorage, *, now: datetime) -> CleanUp:
    """Compare as `compare`, and remove the orphans. Raises Unavailable."""
    result = compare(engine, storage, now=now)
    storage.remove(one.name for one in result.orphans)
    return result
