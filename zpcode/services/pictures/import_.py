"""The pictures of an import: read from the ZIP, encoded, stored, and assigned to the products that name them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Final

import msgspec

from zpcode.errors import Finding, Findings, ImportRefused, Refused, refusal
from zpcode.rules.registry.reader import FileRecords
from zpcode.rules.registry.records import Product, Registry, StoredPicture
from zpcode.services.pictures.decoder import CHILDREN, PictureDecoder
from zpcode.services.pictures.encode import source_of
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.pictures.zip_upload import ZipUpload, opened

COLUMNS: Final = ("image", "mark")


@dataclass(frozen=True, slots=True)
class ImportPictures:
    """The storage for the pictures of an import, and its ZIP. `zip_upload` None: the import has no ZIP."""

    storage: PictureStorage
    zip_upload: ZipUpload | None = None


@contextmanager
def open_pictures(storage: PictureStorage, file: IO[bytes] | None) -> Iterator[ImportPictures]:
    """The pictures of an import with this ZIP; None: without a ZIP. Raises ImportRefused if the ZIP cannot be read."""
    if file is None:
        yield ImportPictures(storage)
        return
    with ExitStack() as stack:
        try:
            zip_upload = stack.enter_context(opened(file))
        except Refused as refused:
            (finding,) = refused.findings
            raise ImportRefused(refused.text, (Finding(finding.reason, finding.text, "ZIP"),)) from refused
        yield ImportPictures(storage, zip_upload)


@dataclass(slots=True)
class EncodedPictures:
    """For each file name of an import: the stored picture, or the finding about it."""

    pictures: dict[str, StoredPicture] = field(default_factory=dict)
    refused: dict[str, Finding] = field(default_factory=dict)


def file_names(products: Iterable[Product]) -> list[str]:
    """The file names of the pictures of these products, without repeats."""
    return list(dict.fromkeys(name for one in products for name in (one.image, one.mark) if name))


def encode_pictures(
    names: Iterable[str], source: ImportPictures, stored: Iterable[StoredPicture], *, keep: bool
) -> EncodedPictures:
    """Encode the files of the ZIP with these names; with `keep`, also store them.

    A file from which one of the `stored` pictures was made is not encoded again. Raises Unavailable.
    """
    encoded = EncodedPictures()
    if source.zip_upload is None:
        return encoded
    present = [name for name in names if name in source.zip_upload]
    by_source = {one.source: one for one in stored if source.storage.holds(one.picture)}
    with PictureDecoder() as decoder, ThreadPoolExecutor(CHILDREN) as threads:
        work = _EncodeFile(source.zip_upload, source.storage if keep else None, decoder, by_source)
        for name, result in zip(present, threads.map(work, present), strict=True):
            if isinstance(result, StoredPicture):
                encoded.pictures[name] = result
            else:
                encoded.refused[name] = result
    return encoded


@dataclass(frozen=True, slots=True)
class _EncodeFile:
    """Encodes one file of the ZIP, in any thread. Two threads with equal files may both encode; the result is the same."""

    zip_upload: ZipUpload
    storage: PictureStorage | None
    decoder: PictureDecoder
    by_source: dict[str, StoredPicture]

    def __call__(self, name: str) -> StoredPicture | Finding:
        try:
            data = self.zip_upload.read(name)
            source = source_of(data)
            if source not in self.by_source:
                self.by_source[source] = self._encode(source, data)
            return self.by_source[source]
        except Refused as refused:
            return refused.findings[0]

    def _encode(self, source: str, data: bytes) -> StoredPicture:
        encoded = self.decoder.encode(data)
        if self.storage is not None:
            self.storage.put(encoded.files)
        return StoredPicture(source, encoded.picture)


def assign(file: FileRecords, stored: Registry, encoded: EncodedPictures, findings: Findings) -> None:
    """Assign pictures to the products of the file; a name without a picture is a finding at its cell.

    A product whose file name did not change keeps its picture, with or without a ZIP. A blank name removes the picture.
    """
    for gtin, product in file.registry.products.items():
        before = stored.products.get(gtin)
        changes: dict[str, StoredPicture | None] = {}
        for column in COLUMNS:
            name, same = (
                getattr(product, column),
                before is not None and getattr(before, column) == getattr(product, column),
            )
            present = getattr(before, f"{column}_developed") if same else None
            changes[f"{column}_developed"] = encoded.pictures.get(name, present)
            if name and changes[f"{column}_developed"] is None:
                _add_finding(file, gtin, column, name, encoded.refused.get(name) or _missing(), findings)
            elif name in encoded.refused:
                _add_finding(file, gtin, column, name, encoded.refused[name], findings)
        file.registry.products[gtin] = msgspec.structs.replace(product, **changes)


def _missing() -> Finding:
    return refusal(
        "picture_missing",
        "随附的 ZIP 中没有此文件；请把图片放进 ZIP（命令行用 --pictures），或更正文件名",
        "the ZIP of this import has no such file; put the picture into the ZIP (--pictures on the command line), or "
        "correct the name",
    ).findings[0]


def _add_finding(file: FileRecords, gtin: str, column: str, name: str, finding: Finding, findings: Findings) -> None:
    location = file.locations.get(("products", gtin, 0))
    where = f"products/{gtin}" if location is None else location.where(column)
    findings.add(finding.reason, finding.text.zh, finding.text.en, where=where, value=name)
