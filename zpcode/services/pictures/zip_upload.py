"""The ZIP beside a registry file: pictures by name, bounded, however it was made and whatever it claims.

Nothing is ever unpacked to disk, so a name in it is a word to compare and never a path. Names are compared under
NFKC without regard to case: macOS writes them decomposed, Windows in Chinese writes GBK without saying so.
"""

from __future__ import annotations

import struct
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END
from threading import Lock
from typing import IO, Final

from zpcode.errors import Refused, refusal
from zpcode.rules.registry.cell_values import clean
from zpcode.services.pictures.encode import MAX_BYTES, too_large

MAX_ENTRIES: Final = 2000
MAX_UNPACKED: Final = 500 * 10**6
MAX_RATIO: Final = 200
"""Unpacked to packed, of one entry above 1 MB."""
_MAX_DIRECTORY = 2**20  # bytes: 2000 names of any length that is in use
_END = struct.Struct("<10sHL6x")  # end of the central directory: …, entries, its bytes, …
_LOCATOR = 20  # bytes of the ZIP64 end of central directory locator
_UTF8 = 0x800
_ENCRYPTED = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_WRONG = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError)


class ZipUpload:
    """Pictures by name out of a ZIP; made by `opened`, read from any thread."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._reading = Lock()
        self._found: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
        for entry in _sound(archive):
            for name in _endings(_folded(_name(entry))):
                self._found[name].append(entry)

    def __contains__(self, name: str) -> bool:
        return bool(self._found.get(_folded(name)))

    def read(self, name: str) -> bytes:
        """The file of that name, in whatever folder; with folders given, in those. Raises Refused, KeyError."""
        entries = self._found.get(_folded(name))
        if not entries:
            raise KeyError(name)
        if len(entries) > 1:
            places = "、".join(sorted(clean(_name(entry)) for entry in entries)[:4])
            raise refusal(
                "ambiguous",
                f"ZIP 中有多个同名文件（{places}），请连同文件夹一起填写",
                f"several files of that name are in the ZIP ({places}); write the folder as well",
            )
        return self._read(entries[0])

    def _read(self, entry: zipfile.ZipInfo) -> bytes:
        if entry.file_size > MAX_BYTES:
            raise too_large()
        try:
            with self._reading, self._archive.open(entry) as file:
                data = file.read(MAX_BYTES + 1)
                whole = not file.read(1)
        except _WRONG as error:
            raise _broken() from error
        if len(data) > MAX_BYTES or not whole:
            raise too_large()
        return data


@contextmanager
def opened(file: IO[bytes]) -> Iterator[ZipUpload]:
    """The album in a ZIP file that can be sought in. Raises Refused with one finding where it is not one to read."""
    try:
        _few_entries(file)
        archive = zipfile.ZipFile(file)
    except _WRONG as error:
        raise _broken() from error
    with archive:
        yield ZipUpload(archive)


def _few_entries(file: IO[bytes]) -> None:
    """Before `zipfile` reads the directory, each entry of which costs memory: how long it says it is (APPNOTE, 4.3.16)."""
    end = file.seek(0, SEEK_END)
    file.seek(max(0, end - _LOCATOR - _END.size - 2**16))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile
    if tail[max(0, at - _LOCATOR) : at].startswith(b"PK\x06\x07"):
        raise _unusual()  # ZIP64: nothing within our bounds needs it
    _, count, size = _END.unpack_from(tail, at)
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY:
        raise _too_many()
    file.seek(0)


def _sound(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The entries that are files of somebody's, once all of them are within bounds."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise _too_many()
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED:
        raise refusal(
            "zip_too_much",
            f"ZIP 解压后超过 {MAX_UNPACKED // 10**6} MB，请分批导入",
            f"the ZIP has more than {MAX_UNPACKED // 10**6} MB unpacked; import in parts",
        )
    for entry in entries:
        _check(entry)
    return [entry for entry in entries if _is_somebodys(entry)]


def _check(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise refusal("zip_encrypted", "ZIP 加了密码，请去掉密码后再试", "the ZIP has a password; make it without one")
    if entry.compress_type not in _METHODS:
        raise _unusual()
    if entry.file_size > max(10**6, MAX_RATIO * entry.compress_size):
        raise refusal(
            "zip_bomb", "ZIP 的压缩比异常，已拒绝", "a file in the ZIP is compressed beyond reason; it is refused"
        )
    name = _name(entry).replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or "\0" in entry.orig_filename or ":" in name[:3]:
        raise refusal(
            "zip_path",
            "ZIP 中的文件名含有指向外部的路径，已拒绝；请重新打包",
            "a name in the ZIP leads out of it; it is refused: make the ZIP anew",
        )


def _is_somebodys(entry: zipfile.ZipInfo) -> bool:
    name = _name(entry)
    return not (entry.is_dir() or name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("."))


def _name(entry: zipfile.ZipInfo) -> str:
    """An entry's name as its maker meant it: UTF-8 where it says so or can be read so, else GBK."""
    if entry.flag_bits & _UTF8:
        return entry.filename
    raw = entry.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return entry.filename


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", clean(name.replace("\\", "/"))).casefold()


def _endings(path: str) -> Iterator[str]:
    """`a/b/c.jpg`, `b/c.jpg`, `c.jpg`: what a cell may say to mean this file; at most eight folders deep."""
    steps = path.split("/")
    for start in range(max(0, len(steps) - 8), len(steps)):
        yield "/".join(steps[start:])


def _broken() -> Refused:
    return refusal(
        "zip_broken",
        "图片 ZIP 已损坏或不是 ZIP 文件，请重新打包",
        "the ZIP with the pictures is damaged, or no ZIP at all; make it anew",
    )


def _unusual() -> Refused:
    return refusal(
        "zip_method",
        "ZIP 使用了少见的打包方式，请用系统自带的“压缩”重新打包",
        "the ZIP is made in an unusual way; make it anew with what your system brings",
    )


def _too_many() -> Refused:
    return refusal(
        "zip_too_many",
        f"图片 ZIP 中的文件超过 {MAX_ENTRIES} 个，请分批导入",
        f"more than {MAX_ENTRIES} files in the ZIP with the pictures; import in parts",
    )
