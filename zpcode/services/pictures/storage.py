"""Where developed pictures lie: a folder, or a bucket (S3 and what speaks its language), through obstore.

Files are named by their content, so putting one twice is putting it once, and a file is never changed. They are put
before the row that names them is committed: a picture on a page is always on the shelf, and what a broken-off
import leaves behind is nobody's, until `zpcode pictures sweep` takes it away.
"""

from __future__ import annotations

import re
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
from zpcode.wire.card import PICTURE_NAME, Picture, picture_name

FRESH: Final = timedelta(hours=12)
"""What lies longer is put again, so that a sweep, which spares what is younger than a day, does not take it meanwhile."""
_AT_ONCE = 8
_NAME = re.compile(PICTURE_NAME)


class Lying(NamedTuple):
    """One file on the shelf: its name, the picture it belongs to, when it was put, its bytes."""

    name: str
    digest: str
    put_at: datetime
    size: int


class PictureStorage:
    """The pictures at a URL: `file:///…` (the folder is made), `s3://bucket/prefix`. Opened when first needed.

    Credentials of a bucket come from where its provider's own tools look (`AWS_…`). Every method raises Unavailable
    where the place cannot be reached or written to.
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
        """Put these files, by name; what lies there already is left."""
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(files)))) as threads:
            list(threads.map(self._put, files, files.values()))

    def _put(self, name: str, data: bytes) -> None:
        try:
            if not self._is_fresh(name, len(data)):
                obstore.put(self._store, name, data, use_multipart=False)
                if isinstance(self._store, LocalStore):
                    (_folder(self.url) / name).chmod(0o644)  # the scan service and the proxy are other users
        except (BaseError, OSError) as error:
            raise _away() from error

    def _is_fresh(self, name: str, size: int) -> bool:
        try:
            found = obstore.head(self._store, name)
        except (NotFoundError, FileNotFoundError):
            return False
        return found["size"] == size and datetime.now(UTC) - found["last_modified"] < FRESH

    def get(self, name: str) -> bytes | None:
        """One file; None where there is none of that name."""
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except (NotFoundError, FileNotFoundError):
            return None
        except (BaseError, OSError) as error:
            raise _away() from error

    def holds(self, picture: Picture) -> bool:
        """Whether the picture is there; asked of its largest WebP."""
        try:
            obstore.head(self._store, picture_name(picture.digest, picture.widths[-1], "webp"))
        except (NotFoundError, FileNotFoundError):
            return False
        except (BaseError, OSError) as error:
            raise _away() from error
        return True

    def listing(self) -> Iterator[Lying]:
        """Every picture's files, in no order; whatever else lies there is passed over."""
        try:
            for chunk in obstore.list(self._store, chunk_size=1000):
                for found in chunk:
                    if match := _NAME.fullmatch(found["path"]):
                        yield Lying(found["path"], match[1], found["last_modified"], found["size"])
        except (BaseError, OSError) as error:
            raise _away() from error

    def take_away(self, names: Iterable[str]) -> None:
        """Remove these files; one that is gone already is no fault."""
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
            "where pictures are kept (ZPCODE_PICTURES) cannot be reached or written to, and nothing was changed; "
            "check the setting, the rights and the room on the disk",
        )
    )
