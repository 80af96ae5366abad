"""Whose file is on disk: a file is written by one process at a time, and only if it belongs to the batch or to none."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zpcode.errors import Conflict, Text
from zpcode.regular_files import NotRegular, open_own, own_file
from zpcode.services.batches.code_folder import foreign
from zpcode.services.batches.file_cipher import HEADER_BYTES, MAGIC, DamagedFile, FileCipher, FileHeader, FileLabel
from zpcode.services.batches.file_keys import EncryptionKeys


def refuse_foreign(path: Path, label: FileLabel, keys: EncryptionKeys) -> None:
    """Raise ForeignFile if a finished file exists that is not the file with this label. Raises OSError."""
    try:
        with own_file(path) as file:
            header = FileHeader.parse(file.read(HEADER_BYTES))
    except FileNotFoundError:
        return
    except NotRegular:
        raise foreign(path, label) from None
    if header is None or header.label != label:
        raise foreign(path, label)
    _known_cipher(header, path, label, keys)


def _known_cipher(header: FileHeader, path: Path, label: FileLabel, keys: EncryptionKeys) -> FileCipher | None:
    """The cipher of a file, None if its key is lost. Raises ForeignFile if the header has been altered."""
    key = keys.by_id.get(header.key_id)
    try:
        return None if key is None else FileCipher.of(key, header)
    except DamagedFile:
        raise foreign(path, label) from None


@contextmanager
def locked(path: Path, label: FileLabel) -> Iterator[BinaryIO]:
    """An unfinished file, made if it does not exist, open to one process at a time; only its owner may read it.

    Raises OSError, ForeignFile if something else has the name, Conflict if another process has the file.
    """
    try:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    except NotRegular:
        raise foreign(path, label) from None
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(Text(f"另一个进程正在写入 {path.name}", f"another process is writing {path.name}")) from None
        yield file


def continued(file: BinaryIO, path: Path, label: FileLabel, keys: EncryptionKeys) -> FileCipher | None:
    """The cipher of an unfinished file, if it can be continued; None if it is to be begun, from its first byte.

    A crash leaves a file without its whole header, which has no code. The same batch under another signing key, or under a
    file key that is lost, is begun again: nothing of an unfinished file has been delivered. Raises ForeignFile if the file
    is anything else.
    """
    raw = file.read(HEADER_BYTES)
    if (len(raw) < HEADER_BYTES and raw[: len(MAGIC)] == MAGIC[: len(raw)]) or not raw.strip(b"\0"):
        if file.read(1):
            raise foreign(path, label)
        return None
    header = FileHeader.parse(raw)
    if header is None or (header.label.number, header.label.identity, header.label.content) != (
        label.number, label.identity, label.content,
    ):  # fmt: skip
        raise foreign(path, label)
    cipher = _known_cipher(header, path, label, keys)
    return cipher if header.label.signing_key == label.signing_key else None


def sync_directory(directory: Path) -> None:
    """Wait until a new name is on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
