"""The ZIP with the pictures of an import: its files by name, with limits on number and size.

Nothing is unpacked to disk: names are only compared and never used as paths. Names are compared in NFKC without regard
to case: macOS writes decomposed names, and Chinese Windows writes GBK without declaring it.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from io import SEEK_END
from threading import Lock
from typing import IO, Final

from zpcode.errors import Refused, refusal
from zpcode.language.normalization import normalized_if_safe
from zpcode.rules.registry.cell_values import clean
from zpcode.services.pictures.encode import MAX_BYTES, too_large

MAX_ENTRIES: Final = 2000
MAX_UNPACKED: Final = 500 * 10**6
MAX_RATIO: Final = 200
"""The greatest ratio of unpacked to packed size, for entries above 1 MB."""
_MAX_DIRECTORY = 2**20  # bytes: enough for 2000 long names
_END = struct.Struct("<10sHL6x")  # end of the central directory: …, entries, its bytes, …
_LOCATOR = 20  # bytes of the ZIP64 end of central directory locator
_UTF8 = 0x800
_ENCRYPTED = 0x1
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_WRONG = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError)


class ZipUpload:
    """The pictures of a ZIP by name; made by `opened`. Any thread may read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._reading = Lock()
        self._entries: defaultdict[str, list[zipfile.ZipInfo]] = defaultdict(list)
        for entry in _checked_files(archive):
            for name in _endings(_folded(_name(entry))):
                self._entries[name].append(entry)

    def __contains__(self, name: str) -> bool:
        return bool(self._entries.get(_folded(name)))

    def read(self, name: str) -> bytes:
        """The content of the file with this name, with or without its folders. Raises Refused, KeyError."""
        entries = self._entries.get(_folded(name))
        if not entries:
            raise KeyError(name)
        if len(entries) > 1:
            paths = "、".join(sorted(clean(_name(entry)) for entry in entries)[:4])
            raise refusal(
                "ambiguous",
                f"ZIP 中有多个同名文件（{paths}），请连同文件夹一起填写",
                f"the ZIP has several files with this name ({paths}); write the folder too",
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
    """Open a seekable ZIP file. Raises Refused with one finding if it cannot be read."""
    try:
        _check_directory(file)
        archive = zipfile.ZipFile(file)
    except _WRONG as error:
        raise _broken() from error
    with archive:
        yield ZipUpload(archive)


def _check_directory(file: IO[bytes]) -> None:
    """Check the declared size of the directory before `zipfile` reads it into memory (APPNOTE, 4.3.16)."""
    end = file.seek(0, SEEK_END)
    file.seek(max(0, end - _LOCATOR - _END.size - 2**16))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise zipfile.BadZipFile
    if tail[max(0, at - _LOCATOR) : at].startswith(b"PK\x06\x07"):
        raise _unusual()  # ZIP64 is not needed within the limits
    _, count, size = _END.unpack_from(tail, at)
    if count > MAX_ENTRIES or size > _MAX_DIRECTORY:
        raise _too_many()
    file.seek(0)


def _checked_files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Check all entries; return those that are files of the user."""
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
    return [entry for entry in entries if _is_user_file(entry)]


def _check(entry: zipfile.ZipInfo) -> None:
    if entry.flag_bits & _ENCRYPTED:
        raise refusal(
            "zip_encrypted", "ZIP 设有密码，请去掉密码后再试", "the ZIP has a password; create it without one"
        )
    if entry.compress_type not in _METHODS:
        raise _unusual()
    if entry.file_size > max(10**6, MAX_RATIO * entry.compress_size):
        raise refusal(
            "zip_bomb",
            "ZIP 的压缩比异常，已拒绝",
            "the compression ratio of a file in the ZIP is abnormal; the ZIP is refused",
        )
    name = _name(entry).replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or "\0" in entry.orig_filename or ":" in name[:3]:
        raise refusal(
            "zip_path",
            "ZIP 中的文件名含有指向外部的路径，已拒绝；请重新打包",
            "a file name in the ZIP is a path outside of it; the ZIP is refused; create it again",
        )


def _is_user_file(entry: zipfile.ZipInfo) -> bool:
    name = _name(entry)
    return not (entry.is_dir() or name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith("."))


def _name(entry: zipfile.ZipInfo) -> str:
    """The name of an entry: UTF-8 if declared or valid, otherwise GBK."""
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
    return normalized_if_safe("NFKC", clean(name.replace("\\", "/"))).casefold()


def _endings(path: str) -> Iterator[str]:
    """The names that a cell may use for a file: `a/b/c.jpg`, `b/c.jpg`, `c.jpg`; at most eight steps."""
    steps = path.split("/")
    for start in range(max(0, len(steps) - 8), len(steps)):
        yield "/".join(steps[start:])


def _broken() -> Refused:
    return refusal(
        "zip_broken",
        "图片 ZIP 已损坏或不是 ZIP 文件，请重新打包",
        "the file with the pictures is damaged or not a ZIP; create it again",
    )


def _unusual() -> Refused:
    return refusal(
        "zip_method",
        "ZIP 使用了少见的打包方式，请用系统自带的“压缩”重新打包",
        "the ZIP uses an unusual method; create it again with the tools of your system",
    )


def _too_many() -> Refused:
    return refusal(
        "zip_too_many",
        f"图片 ZIP 中的文件超过 {MAX_ENTRIES} 个，请分批导入",
        f"more than {MAX_ENTRIES} files in the ZIP with the pictures; import in parts",
    )
