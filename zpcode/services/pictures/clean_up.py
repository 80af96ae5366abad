"""What lies on the shelf against what products show: files nobody shows any more, and pictures that are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from zpcode.services.pictures.storage import Lying, PictureStorage
from zpcode.store.database.session import Engine, transaction
from zpcode.store.registry import records as store
from zpcode.wire.card import Picture, picture_name

SPARED: Final = timedelta(days=1)
"""What was put since is spared, whoever it belongs to: an import that is still under way has put it."""
FORMS: Final = ("webp", "jpg")


@dataclass(frozen=True, slots=True)
class CleanUp:
    """What was found. `orphans` are files that no product shows and that are older than a day; `missing` names that
    a product shows and that are not there; `kept` counts the files that are shown or younger.
    """

    orphans: tuple[Lying, ...]
    missing: tuple[str, ...]
    kept: int


def look(engine: Engine, shelf: PictureStorage, *, now: datetime) -> CleanUp:
    """Compare shelf and products; nothing is changed. Raises Unavailable."""
    lying = list(shelf.listing())  # first: what is put from here on is young
    with transaction(engine) as connection:
        shown = {one.picture.digest: one.picture for one in store.stored_pictures(connection)}
    orphans = tuple(one for one in lying if one.digest not in shown and now - one.put_at > SPARED)
    there = {one.name for one in lying}
    missing = tuple(sorted(name for picture in shown.values() for name in names(picture) if name not in there))
    return CleanUp(orphans, missing, len(lying) - len(orphans))


def names(picture: Picture) -> list[str]:
    """The names of all files of a picture."""
    return [picture_name(picture.digest, width, form) for width in picture.widths for form in FORMS]


def take_away(engine: Engine, shelf: PictureStorage, *, now: datetime) -> CleanUp:
    """Look, and take the orphans off the shelf. Raises Unavailable."""
    found = look(engine, shelf, now=now)
    shelf.take_away(one.name for one in found.orphans)
    return found
