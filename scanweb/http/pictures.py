"""The files of pictures of products, as a plain ASGI callable.

A file is named by what is in it and never changes, so whoever has it keeps it for good. It is read from where the
authority put it (`ZPCODE_PICTURES`), by threads of obstore's own: a disk or a bucket that is slow holds up nobody's
scan. The proxy may serve the same folder itself (`deploy/nginx.conf`); then this is hardly asked.
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
from obstore.store import LocalStore, ObjectStore, from_url

from scanweb.http.exchange import Receive, Scope, Send
from scanweb.http.responses import refuse_method
from zpcode.wire import security_headers
from zpcode.wire.card import PICTURE_NAME, PICTURES

FOLDER: Final = PICTURES
MEMORY: Final = 32 * 2**20
"""Bytes of pictures a process remembers."""
AT_ONCE: Final = 16
"""Files under way at a time; whoever comes then waits for one of them."""
SECONDS: Final = 3.0
_LOG = logging.getLogger(__name__)
_PATH = re.compile(re.escape(PICTURES.encode()) + PICTURE_NAME.encode())
_KINDS: Final = {b"webp": b"image/webp", b"jpg": b"image/jpeg"}
_FIXED: Final = (
    (b"cache-control", b"public, max-age=31536000, immutable"),
    *security_headers.raw(security_headers.PICTURE),
)


class PictureFiles:
    """Serves `/pictures/…` from a URL: `file:///…`, `s3://bucket/prefix`. `missing` answers what is not there."""

    def __init__(self, url: str, missing: Any, *, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._url, self._missing = url, missing
        self._opened: ObjectStore | None = None
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._room, self._seconds = memory, seconds
        self._seats = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[bytes, asyncio.Task[bytes | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["method"] not in {"GET", "HEAD"}:
            await refuse_method(scope["method"], send)
            return
        match = _PATH.fullmatch(scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"))
        if match is None:
            await self._missing(scope, receive, send)
            return
        name = match[0].removeprefix(PICTURES.encode())
        etag = b'"%b"' % name
        if _has(scope, etag):
            await _send(scope, send, 304, (*_FIXED, (b"etag", etag)))
            return
        try:
            data = await asyncio.wait_for(asyncio.shield(self._found(name)), self._seconds)
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

    def _found(self, name: bytes) -> asyncio.Future[bytes | None]:
        """The file, from memory or from the one reading of it that is under way."""
        if (kept := self._kept.get(name)) is not None:
            self._kept.move_to_end(name)
            done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
            done.set_result(kept)
            return done
        task = self._under_way.get(name)
        if task is None:
            task = self._under_way[name] = asyncio.create_task(self._read(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: bytes, task: asyncio.Task[bytes | None]) -> None:
        del self._under_way[name]
        if not task.cancelled():
            task.exception()  # told to whoever waits; nobody may be left

    async def _read(self, name: bytes) -> bytes | None:
        async with self._seats:
            try:
                if self._opened is None:
                    self._opened = _open(self._url)
                answer = await obstore.get_async(self._opened, name.decode("ascii"))
            except (NotFoundError, FileNotFoundError):
                return None
            data = bytes(await answer.bytes_async())
        self._keep(name, data)
        return data

    def _keep(self, name: bytes, data: bytes) -> None:
        self._kept[name] = data
        self._room -= len(data)
        while self._room < 0:
            self._room += len(self._kept.popitem(last=False)[1])


def _open(url: str) -> ObjectStore:
    """The place at a URL. Nothing is made: where the folder is not there (yet), no picture is. Raises FileNotFoundError."""
    if url.startswith("file://"):
        return LocalStore(Path(unquote(urlsplit(url).path)).resolve(strict=True))
    return from_url(url, client_options={"timeout": f"{SECONDS}s", "connect_timeout": "1s"})


def _has(scope: Scope, etag: bytes) -> bool:
    """Whether the asker has this very file (RFC 9110, 13.1.2); `*` is not enough: it may not be there."""
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
