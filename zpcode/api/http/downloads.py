"""Sends a finished code file: streamed, resumable by range, with its SHA-256 as entity tag (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from zpcode.api.http.refusals import UnsatisfiableRange
from zpcode.errors import Text, Unavailable
from zpcode.exports.formats import export_of, file_name
from zpcode.rules.batches.batch import Batch

CHUNK: Final = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def download(batch: Batch, exports: Path, request: Headers) -> Response:
    """The file of an issued batch, or the one range of it that the request headers ask for; 304 where the client has it.

    The media type is that of the batch's format. Raises UnsatisfiableRange, Unavailable where the file is not on this
    machine or has another size than the issued one.
    """
    name, etag = file_name(batch), f'"{batch.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if _lists(request.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    path = exports / name
    _check_size(path, batch)
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    part = _range(request, etag, batch.bytes)
    first, last = part or (0, batch.bytes - 1)
    headers["Content-Length"] = str(last - first + 1)
    if part:
        headers["Content-Range"] = f"bytes {first}-{last}/{batch.bytes}"
    status, media_type = 206 if part else 200, export_of(batch).media_type
    return StreamingResponse(_bytes(path, first, last), status, headers, media_type)


def _lists(if_none_match: str, etag: str) -> bool:
    return if_none_match.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in if_none_match.split(","))


def _range(request: Headers, etag: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of the range in the request; None for the whole file, also where several ranges are asked."""
    match = _RANGE.fullmatch(request.get("range", "").replace(" ", ""))
    if match is None or request.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        suffix = int(last)
        if suffix == 0:
            raise UnsatisfiableRange(size)
        return max(size - suffix, 0), size - 1
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise UnsatisfiableRange(size)
    return int(first), min(int(last), size - 1) if last else size - 1


def _check_size(path: Path, batch: Batch) -> None:
    try:
        complete = path.stat().st_size == batch.bytes
    except OSError:
        complete = False
    if not complete:
        number = batch.number
        raise Unavailable(
            Text(
                f"批次 {number} 的文件不在本机；请平台运营方执行 zpcode batches export {number} 重新生成",
                f"the file of batch {number} is not on this machine; the operator writes it again with "
                f"zpcode batches export {number}",
            )
        )


def _bytes(path: Path, first: int, last: int) -> Iterator[bytes]:
    left = last - first + 1
    with path.open("rb") as file:
        file.seek(first)
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            left -= len(chunk)
            yield chunk
