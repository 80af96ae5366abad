"""The pictures an import needs: found in the ZIP, developed, put on the shelf, given to the products that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Final

import msgspec

from zpcode.errors import Finding, Findings, ImportRefused, Refused, refusal
from zpcode.rules.registry.reader import Draft
from zpcode.rules.registry.records import Product, Registry, StoredPicture
from zpcode.services.pictures.decoder import CHILDREN, PictureDecoder
from zpcode.services.pictures.encode import source_of
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.pictures.zip_upload import ZipUpload, opened

COLUMNS: Final = ("image", "mark")


@dataclass(frozen=True, slots=True)
class ImportPictures:
    """Where an import's pictures come from and where they go. `album` None: no ZIP came with the file."""

    shelf: PictureStorage
    album: ZipUpload | None = None


@contextmanager
def supplied(shelf: PictureStorage, file: IO[bytes] | None) -> Iterator[ImportPictures]:
    """The supply of an import with which this ZIP came, or none. Raises ImportRefused where it cannot be read."""
    if file is None:
        yield ImportPictures(shelf)
        return
    with ExitStack() as stack:
        try:
            album = stack.enter_context(opened(file))
        except Refused as refused:
            (found,) = refused.findings
            raise ImportRefused(refused.text, (Finding(found.reason, found.text, "ZIP"),)) from refused
        yield ImportPictures(shelf, album)


@dataclass(slots=True)
class Prints:
    """What became of each name in a file: a picture, or the finding that stands for it."""

    developed: dict[str, StoredPicture] = field(default_factory=dict)
    refused: dict[str, Finding] = field(default_factory=dict)


def named(products: Iterable[Product]) -> list[str]:
    """The names of files that products have, each once."""
    return list(dict.fromkeys(name for one in products for name in (one.image, one.mark) if name))


def prints(names: Iterable[str], supply: ImportPictures, known: Iterable[StoredPicture], *, keep: bool) -> Prints:
    """Every one of these names that the ZIP has, developed; `keep` puts the files on the shelf.

    A file that made one of the `known` pictures before is not developed again. Raises Unavailable.
    """
    found = Prints()
    if supply.album is None:
        return found
    wanted = [name for name in names if name in supply.album]
    before = {one.source: one for one in known if supply.shelf.holds(one.picture)}
    with PictureDecoder() as darkroom, ThreadPoolExecutor(CHILDREN) as threads:
        work = _Work(supply.album, supply.shelf if keep else None, darkroom, before)
        for name, result in zip(wanted, threads.map(work, wanted), strict=True):
            if isinstance(result, StoredPicture):
                found.developed[name] = result
            else:
                found.refused[name] = result
    return found


@dataclass(frozen=True, slots=True)
class _Work:
    """One name at a time, in any thread; two that come at once with the same file both develop it, to the same end."""

    album: ZipUpload
    shelf: PictureStorage | None
    darkroom: PictureDecoder
    before: dict[str, StoredPicture]

    def __call__(self, name: str) -> StoredPicture | Finding:
        try:
            data = self.album.read(name)
            source = source_of(data)
            if source not in self.before:
                self.before[source] = self._developed(source, data)
            return self.before[source]
        except Refused as refused:
            return refused.findings[0]

    def _developed(self, source: str, data: bytes) -> StoredPicture:
        made = self.darkroom.develop(data)
        if self.shelf is not None:
            self.shelf.put(made.files)
        return StoredPicture(source, made.picture)


def assign(draft: Draft, known: Registry, prints: Prints, findings: Findings) -> None:
    """Give the file's products their pictures; a name without one is a finding at its cell.

    A name that did not change keeps what stands, whether or not a ZIP came along; a blank one gives it up.
    """
    for gtin, product in draft.registry.products.items():
        before = known.products.get(gtin)
        changes: dict[str, StoredPicture | None] = {}
        for column in COLUMNS:
            name, same = (
                getattr(product, column),
                before is not None and getattr(before, column) == getattr(product, column),
            )
            stands = getattr(before, f"{column}_developed") if same else None
            changes[f"{column}_developed"] = prints.developed.get(name, stands)
            if name and changes[f"{column}_developed"] is None:
                _note(draft, gtin, column, name, prints.refused.get(name) or _missing(), findings)
            elif name in prints.refused:
                _note(draft, gtin, column, name, prints.refused[name], findings)
        draft.registry.products[gtin] = msgspec.structs.replace(product, **changes)


def _missing() -> Finding:
    return refusal(
        "picture_missing",
        "随附的 ZIP 中没有此文件；请把图片放进 ZIP（命令行用 --pictures），或更正文件名",
        "no such file in a ZIP beside this one; put the picture into the ZIP (--pictures on the command line), or "
        "correct the name",
    ).findings[0]


def _note(draft: Draft, gtin: str, column: str, name: str, found: Finding, findings: Findings) -> None:
    place = draft.places.get(("products", gtin, 0))
    where = f"products/{gtin}" if place is None else place.where(column)
    findings.add(found.reason, found.text.zh, found.text.en, where=where, value=name)
