"""The picture files of products, as a plain ASGI callable.

A file is named by the digest of its content and never changes, so clients may cache it for ever. It is read from where
the authority wrote it (`ZPCODE_PICTURES`) in threads: a slow disk or bucket delays no scan. The proxy may serve
the same folder itself (`deploy/nginx.conf`).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from scanweb.http.exchange import Receive, Scope, Send
from scanweb.http.responses import refuse_method
from zpcode.regular_files import any_file
from zpcode.wire import security_headers
from zpcode.wire.card import PICTURE_NAME, PICTURES

FOLDER: Final = PICTURES
MEMORY: Final = 32 * 2**20
"""Bytes of pictures that a process keeps in memory."""
MAX_READS: Final = 16
"""Files read at a time; further requests wait."""
SECONDS: Final = 3.0
_LOG = logging.getLogger(__name__)
_PATH = re.compile(re.escape(PICTURES.encode()) + PICTURE_NAME.encode())
_KINDS: Final = {b"webp": b"image/webp", b"jpg": b"image/jpeg"}
_FIXED: Final = (
    (b"cache-control", b"public, max-age=31536000, immutable"),
    *security_headers.raw(security_headers.PICTURE),
)


class PictureFiles:
    """Serves `/pictures/…` from a URL: `file:///…`, `s3://bucket/prefix`. `missing` responds to names without a file."""

    def __init__(self, url: str, missing: Any, *, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._url, self._missing = url, missing
        self._opened: ObjectStore | Path | None = None
        self._in_memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._room, self._seconds = memory, seconds
        self._reads = asyncio.Semaphore(MAX_READS)
        self._under_way: dict[bytes, asyncio.Task[bytes | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request (ASGI)."""
        if scope["method"] not in {"GET", "HEAD"}:
            await refuse_method(scope["method"], send)
            return
        match = _PATH.fullmatch(scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"))
        if match is None:
            await self._missing(scope, receive, send)
            return
        name = match[0].removeprefix(PICTURES.encode())
        etag = b'"%b"' % name
        if _is_cached(scope, etag):
            await _send(scope, send, 304, (*_FIXED, (b"etag", etag)))
            return
        try:
            data = await asyncio.wait_for(asyncio.shield(self._file(name)), self._seconds)
        except (BaseError, OSError, TimeoutError):
            _LOG.warning("pictures cannot be read", exc_info=True)
            headers = ((b"cache-control", b"no-store"), (b"retry-after", b"5"), (b"content-length", b"0"))
            await _send(scope, send, 503, headers)
            return
        if data is None:
            await self._missing(scope, receive, send)
            return
        headers = ((b"content-type", _KINDS[match[3]]), (b"content-length", b"%d" % len(data)), (b"etag", etag))
        await _send(scope, send, 200, (*_FIXED, *headers), data)

    def _file(self, name: bytes) -> asyncio.Future[bytes | None]:
        """A future of the file, from memory or from the one read of it that is under way; None: there is none."""
        if (data := self._in_memory.get(name)) is not None:
            self._in_memory.move_to_end(name)
            done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            done.set_result(data)
            return done
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(self._read(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: bytes, task: asyncio.Task[bytes | None]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            task.exception()  # mark it as retrieved: no request may be waiting any more

    async def _read(self, name: bytes) -> bytes | None:
        async with self._reads:
            try:
                if self._opened is None:
                    self._opened = _open(self._url)
                data = await self._content(self._opened, name.decode("ascii"))
            except (NotFoundError, FileNotFoundError):
                return None
        self._keep(name, data)
        return data

    async def _content(self, store: ObjectStore | Path, name: str) -> bytes:
        if isinstance(store, Path):
            return await asyncio.to_thread(_read_file, store / name)
        return bytes(await (await obstore.get_async(store, name)).bytes_async())

    def _keep(self, name: bytes, data: bytes) -> None:
        self._in_memory[name] = data
        self._room -= len(data)
        while self._room < 0:
            self._room += len(self._in_memory.popitem(last=False)[1])


def _read_file(path: Path) -> bytes:
    with any_file(path, links=False) as file:  # a link could name a file that only this service may read
        return file.read()


def _open(url: str) -> ObjectStore | Path:
    """The folder or the bucket at a URL. No folder is created. Raises FileNotFoundError where it does not exist (yet)."""
    if url.startswith("file://"):
        return Path(unquote(urlsplit(url).path)).resolve(strict=True)
    return from_url(url, client_options={"timeout": f"{SECONDS}s", "connect_timeout": "1s"})


def _is_cached(scope: Scope, etag: bytes) -> bool:
    """Whether the client has this file (RFC 9110, 13.1.2). `*` does not count: the file may not exist."""
    return any(
        etag in (one.strip().removeprefix(b"W/") for one in value.split(b","))
        for name, value in scope["headers"]
        if name == b"if-none-match"
    )


async def _send(
    scope: Scope, send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes = b""
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
