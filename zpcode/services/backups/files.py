"""What is not in the database: the public keyring, the pinned root key, the pictures of products, and kept signatures.

Signatures are kept where a code file could not be written again without them (docs/issuing.md); they are encrypted. All these files
hardly ever change under one name (a keyring is named by its serial, a picture by its content), so only new ones are
copied, and a restoration takes the newest keyring whichever backup it restores: an older one would trust a revoked key again.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from keys.files import read_public
from keys.keyring import Keyring, read_root
from zpcode.errors import KeyringError, Text, Unavailable
from zpcode.regular_files import NotRegular, new_file, own_file, read_own
from zpcode.rules.backups import FileDigest
from zpcode.services.backups.folder import BackupFolder, digest, write
from zpcode.services.pictures.storage import PictureStorage
from zpcode.wire.card import PICTURE_NAME

_AT_ONCE: Final = 8
_CHUNK: Final = 512
_KEYRING: Final = re.compile(r"[0-9]{1,18}\.json", re.ASCII)
_PICTURE: Final = re.compile(PICTURE_NAME)
_SIGNATURES: Final = re.compile(r"batch-[0-9]{1,8}\.signatures")


@dataclass(frozen=True, slots=True)
class Originals:
    """Where the files are that a backup copies; `exports` is the folder of the code files."""

    keyring: Path
    root_public: Path
    pictures: PictureStorage
    exports: Path


@dataclass(frozen=True, slots=True)
class CopiedFiles:
    """What was copied: the keyring now in force, the root key (PEM), the names of all pictures, and how many were new."""

    keyring: Keyring
    root: bytes
    pictures: frozenset[str]
    new_pictures: int


def copy_files(originals: Originals, folder: BackupFolder) -> CopiedFiles:
    """Copy what is new; it is on disk when this returns. Raises KeyringError, or Unavailable if the pictures cannot be read."""
    root = read_root(originals.root_public)
    keyring = Keyring.load(read_public(originals.keyring), root)
    path = folder.keyrings / f"{keyring.serial}.json"
    if not path.exists():
        write(path, keyring.document)
    copied = _copy_signatures(originals.exports, folder.signatures)
    _note_signatures(folder, copied)
    pictures, new = _copy_pictures(originals.pictures, folder)
    os.sync()
    return CopiedFiles(keyring, root, pictures, new)


def newest_keyring(folder: BackupFolder, root: bytes) -> Keyring:
    """The keyring with the highest serial, verified with the root key (PEM). Raises KeyringError."""
    newest: Keyring | None = None
    paths = [path for path in folder.keyrings.glob("*") if _KEYRING.fullmatch(path.name)]
    for path in sorted(paths, key=lambda path: int(path.stem)):
        document = read_public(path)
        newest = newest.successor(document, root) if newest is not None else Keyring.load(document, root)
    if newest is None:
        raise KeyringError(Text(f"{folder.keyrings} 中没有公钥环", f"there is no keyring in {folder.keyrings}"))
    return newest


# Kept signatures ------------------------------------------------------------------------------------


def _copy_signatures(source: Path, target: Path) -> frozenset[str]:
    """Copy those that are new or were encrypted anew, and return their names. What is copied has the time of its original.

    What cannot be read is left out: `lacks_signatures` says whether any are missing.
    """
    try:
        paths = [path for path in source.iterdir() if _SIGNATURES.fullmatch(path.name)]
    except (FileNotFoundError, PermissionError):
        return frozenset()
    copied = set()
    for path in paths:
        with suppress(FileNotFoundError, PermissionError, NotRegular):
            if not _same(path.lstat(), target / path.name):
                _copy(path, target / path.name)
                copied.add(path.name)
    return frozenset(copied)


def _note_signatures(folder: BackupFolder, copied: frozenset[str]) -> None:
    """Note the digests of what was copied, and of copies of an earlier version that are not noted. The others are not read."""
    noted = read_table(folder.signature_digests)
    fresh = {}
    for path in folder.signatures.iterdir():
        if _SIGNATURES.fullmatch(path.name) and (path.name in copied or path.name not in noted):
            with suppress(NotRegular):
                fresh[path.name] = digest(path)
    if fresh:
        write(folder.signature_digests, table(noted | fresh))


def _copy(source: Path, target: Path) -> None:
    """Copy a file in one step, with its time; only its owner may read the copy. Raises NotRegular."""
    fresh = target.with_name(f".{target.name}.new")
    with own_file(source) as original, new_file(fresh) as copy:
        shutil.copyfileobj(original, copy)
        copy.flush()
        status = os.fstat(original.fileno())
        os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.rename(target)


def _same(original: os.stat_result, copy: Path) -> bool:
    if not copy.exists():
        return False
    status = copy.stat()
    return (status.st_size, status.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def lacks_signatures(folder: BackupFolder, number: int) -> bool:
    """Whether the backup has no kept signatures of this batch."""
    return not (folder.signatures / f"batch-{number}.signatures").exists()


def restore_signatures(folder: BackupFolder, target: Path) -> int:
    """Copy the kept signatures to a folder, and return how many; without any, there is no folder.

    Not to the code files: an empty folder of code files would be a witness that knows nothing (docs/recovery.md).
    """
    paths = [path for path in folder.signatures.glob("*") if _SIGNATURES.fullmatch(path.name)]
    if paths:
        target.mkdir(mode=0o700, exist_ok=True)
    for path in paths:
        _copy(path, target / path.name)
    return len(paths)


# Pictures -------------------------------------------------------------------------------------------


def _copy_pictures(storage: PictureStorage, folder: BackupFolder) -> tuple[frozenset[str], int]:
    """The names of all stored pictures, and how many of them were copied. After a power failure a copy may be too short."""
    present = {path.name: path.stat().st_size for path in folder.pictures.iterdir()}
    stored = {one.name: one.size for one in storage.listing()}
    missing = (name for name, size in stored.items() if present.get(name) != size)

    def copy(name: str) -> bool:
        content = storage.get(name)
        if content is not None:  # None: a clean-up removed it meanwhile
            _write_once(folder.pictures / name, content)
        return content is not None

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return frozenset(stored), sum(sum(threads.map(copy, chunk)) for chunk in _chunks(missing))


def _write_once(path: Path, content: bytes) -> None:
    """Without a sync for each file: there may be millions, and `copy_files` brings them all to disk."""
    fresh = path.with_name(f".{path.name}.new")
    with new_file(fresh) as file:
        file.write(content)
    fresh.rename(path)


def index_pictures(
    folder: BackupFolder, names: Iterable[str], previous: dict[str, FileDigest]
) -> dict[str, FileDigest]:
    """The digests of these pictures, of those that were copied; files in `previous`, an earlier backup's, are not read again.

    The folder may have more, of earlier backups: `prune` removes what no backup lists.
    """
    paths = (folder.pictures / name for name in names)
    return {path.name: previous.get(path.name) or digest(path) for path in paths if path.exists()}


def restore_pictures(folder: BackupFolder, names: Iterable[str], storage: PictureStorage) -> int:
    """Store these pictures where the service reads them; returns how many. Raises Unavailable."""
    count = 0
    for chunk in _chunks(names):
        storage.put({name: read_own(folder.pictures / name) for name in chunk})
        count += len(chunk)
    return count


def stored_pictures(folder: BackupFolder) -> list[str]:
    """The names of the pictures in the folder, of whichever backup. Other files there have no place in the service."""
    return [path.name for path in folder.pictures.glob("*") if _PICTURE.fullmatch(path.name)]


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    """The names in lists of bounded length."""
    rest = iter(names)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


# Lists ----------------------------------------------------------------------------------------------


def table(digests: dict[str, FileDigest]) -> bytes:
    """The digests as lines of name, size and SHA-256, separated by tabs, in the order of the names."""
    lines = (f"{name}\t{one.bytes}\t{one.sha256}\n" for name, one in sorted(digests.items()))
    return "".join(lines).encode("utf-8")


def read_table(path: Path) -> dict[str, FileDigest]:
    """The digests in a file that `table` has made; empty if there is no such file. Raises Unavailable if it is damaged."""
    try:
        return dict(_rows(read_own(path).decode("utf-8"))) if path.exists() else {}
    except ValueError as error:
        raise Unavailable(Text(f"{path} 已损坏", f"{path} is damaged")) from error


def _rows(text: str) -> Iterator[tuple[str, FileDigest]]:
    for line in text.splitlines():
        name, size, sha256 = line.split("\t")
        if Path(name).name != name:
            raise ValueError("not the name of a file in this folder")
        yield name, FileDigest(int(size), sha256)
