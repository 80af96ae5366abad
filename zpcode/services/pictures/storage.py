"""The storage of encoded pictures: a folder, or a bucket (S3 or compatible), through obstore.

Files are named by their content, so storing a file twice has no effect, and a file never changes. A file is stored before
the row that names it is committed, so every picture on a page exists. Files of an aborted import are unused;
`zpcode pictures clean-up` removes them.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from zpcode.errors import Text, Unavailable
from zpcode.regular_files import any_file
from zpcode.wire.card import PICTURE_NAME, Picture, picture_name

FRESH: Final = timedelta(hours=12)
"""An older file is written again, so that a clean-up, which removes unused files after a day, does not remove it."""
_AT_ONCE = 8
_NAME = re.compile(PICTURE_NAME)


class StoredFile(NamedTuple):
    """One stored file: its name, the digest of its picture, when it was stored, and its size in bytes."""

    name: str
    digest: str
    stored_at: datetime
    size: int


class PictureStorage:
    """The pictures at a URL: `file:///…` (the folder is created) or `s3://bucket/prefix`. Opened at first use.

    The credentials of a bucket are those of its provider's own tools (`AWS_…`). Every method raises Unavailable if the
    storage cannot be read or written.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: ObjectStore | None = None

    @property
    def _store(self) -> ObjectStore:
        if self._opened is None:
            self._opened = _open(self.url)
        return self._opened

    def put(self, files: Mapping[str, bytes]) -> None:
        """Store these files by name; files that exist already are not changed."""
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(files)))) as threads:
            list(threads.map(self._put, files, files.values()))

    def _put(self, name: str, data: bytes) -> None:
        try:
            if not self._is_fresh(name, len(data)):
                obstore.put(self._store, name, data, use_multipart=False)
                if isinstance(self._store, LocalStore):
                    (_folder(self.url) / name).chmod(0o644)  # the scan service and the proxy run as other users
        except (BaseError, OSError) as error:
            raise _away() from error

    def _is_fresh(self, name: str, size: int) -> bool:
        stored = self._status(name)
        return stored is not None and stored[0] == size and datetime.now(UTC) - stored[1] < FRESH

    def _status(self, name: str) -> tuple[int, datetime] | None:
        """The size of a file and when it was stored; None if there is no file.

        In a folder, obstore would open whatever has the name, and wait for ever for the writer of a FIFO.
        """
        try:
            if isinstance(self._store, LocalStore):
                status = (_folder(self.url) / name).lstat()
                regular = stat.S_ISREG(status.st_mode)
                return (status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) if regular else None
            metadata = obstore.head(self._store, name)
        except (NotFoundError, FileNotFoundError):
            return None
        return metadata["size"], metadata["last_modified"]

    def get(self, name: str) -> bytes | None:
        """The content of one file, or None."""
        try:
            if isinstance(self._store, LocalStore):
                with any_file(_folder(self.url) / name, links=False) as file:
                    return file.read()
            return bytes(obstore.get(self._store, name).bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _away() from error

    def holds(self, picture: Picture) -> bool:
        """Whether the picture is stored, judged by its largest WebP."""
        try:
            return self._status(picture_name(picture.digest, picture.widths[-1], "webp")) is not None
        except (BaseError, OSError) as error:
            raise _away() from error

    def listing(self) -> Iterator[StoredFile]:
        """All files of pictures, in any order; other files are ignored."""
        try:
            for chunk in obstore.list(self._store, chunk_size=1000):
                for entry in chunk:
                    if match := _NAME.fullmatch(entry["path"]):
                        yield StoredFile(entry["path"], match[1], entry["last_modified"], entry["size"])
        except (BaseError, OSError) as error:
            raise _away() from error

    def remove(self, names: Iterable[str]) -> None:
        """Remove these files; a missing file is not an error."""
        try:
            for name in names:
                try:
                    obstore.delete(self._store, name)
                except (NotFoundError, FileNotFoundError):
                    continue
        except (BaseError, OSError) as error:
            raise _away() from error


def _open(url: str) -> ObjectStore:
    try:
        if url.startswith("file://"):
            folder = _folder(url)
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o755)
            return LocalStore(folder)
        return from_url(url, client_options={"timeout": "20s", "connect_timeout": "3s"})
    except (BaseError, OSError, ValueError, TypeError) as error:
        raise _away() from error


def _folder(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _away() -> Unavailable:
    return Unavailable(
        Text(
            "图片存放处（ZPCODE_PICTURES）无法访问或写入，未做任何更改；请检查设置、权限与磁盘空间后再试",
            "the picture storage (ZPCODE_PICTURES) cannot be read or written; nothing was changed; "
            "check the setting, the permissions and the free disk space",
        )
    )
