"""The file of an issued batch as a response: streamed, resumable by range, its SHA-256 as ETag (RFC 9110, 13 and 14)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO, Final

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from zpcode.api.http.refusals import UnsatisfiableRange
from zpcode.errors import ForeignFile, Text, Unavailable
from zpcode.exports.formats import export_of, file_name
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.file_cipher import DamagedFile

CHUNK: Final = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def download(batch: Batch, exports: CodeFolder, request: Headers, record: Callable[[int, int], None]) -> Response:
    """The file (200), the one range of it that is requested (206), or 304 if `If-None-Match` names its ETag.

    ETag, length and ranges are those of the content. `record` is called with the first and last byte before any is sent. Raises UnsatisfiableRange; Unavailable if this machine does not have
    the file or its key, or has one of another size or of another batch.
    """
    name, etag = file_name(batch), _etag(batch)
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if has_file(batch, request):
        return Response(status_code=304, headers=headers)
    file = _opened(exports, batch)
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    try:
        requested = _range(request, etag, batch.bytes)
    except UnsatisfiableRange:
        file.close()
        raise
    first, last = requested or (0, batch.bytes - 1)
    try:
        record(first, last)
    except BaseException:
        file.close()
        raise
    headers["Content-Length"] = str(last - first + 1)
    if requested:
        headers["Content-Range"] = f"bytes {first}-{last}/{batch.bytes}"
    status = 206 if requested else 200
    return StreamingResponse(_read(file, first, last), status, headers, export_of(batch).media_type)


def has_file(batch: Batch, request: Headers) -> bool:
    """Whether the client has the file already: `If-None-Match` names its ETag (RFC 9110, 13.1.2)."""
    return _names(request.get("if-none-match", ""), _etag(batch))


def _etag(batch: Batch) -> str:
    return f'"{batch.sha256}"'


def _names(if_none_match: str, etag: str) -> bool:
    return if_none_match.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in if_none_match.split(","))


def _range(request: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of the requested range.

    None means the whole file: no range, several ranges, one that is not well-formed, or one of another file (`If-Range`).
    """
    match = _RANGE.fullmatch(request.get("range", "").replace(" ", ""))
    if match is None or request.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(int(last), size) if last else None
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableRange(size)
    return int(first), min(int(last), size - 1) if last else size - 1


def _suffix(length: int, size: int) -> tuple[int, int]:
    """The last `length` bytes, as `bytes=-LENGTH` requests them."""
    if length == 0:
        raise UnsatisfiableRange(size)
    return max(size - length, 0), size - 1


def _opened(exports: CodeFolder, batch: Batch) -> BinaryIO:
    with suppress(OSError, DamagedFile, ForeignFile):
        file = exports.open(batch)
        if file.seek(0, os.SEEK_END) == batch.bytes:
            return file
        file.close()
    number = batch.number
    raise Unavailable(
        Text(
            f"批次 {number} 的文件不在本机；请平台运营方执行 zpcode batches export {number} 重新生成",
            f"the file of batch {number} is not on this machine; the operator can write it again with "
            f"zpcode batches export {number}",
        )
    )


def _read(file: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    """The bytes of a range. DamagedFile ends the response before its Content-Length: a client sees that it is cut."""
    left = last - first + 1
    with file:
        file.seek(first)
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
