"""Count the parts of a picture file before a decoder reads it.

A decoder works through every part. libjpeg passes over the whole picture once for each scan of a progressive JPEG: 2000
empty scans of 40 megapixels are a file of 0.2 MB and took 29 s of processor time, 100 take 2 s. Cameras and editors write
at most a dozen scans. Pillow reads each chunk of a PNG or WebP in Python: a million empty chunks are a file of 10 MB.

The counts stop at their bounds, so that counting costs less than 50 ms for a file of 10 MB.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from zpcode.errors import Refused, refusal

MAX_SCANS: Final = 100
MAX_SEGMENTS: Final = 1000
"""Segments of a JPEG: a colour profile has up to 255, an extended XMP block up to 160 within 10 MB."""
MAX_DATA_CHUNKS: Final = 10_000
"""IDAT chunks of a PNG: libpng writes 8 KiB into each."""
MAX_CHUNKS: Final = 1000
"""Other chunks of a PNG, and chunks of a WebP: each frame of an animation is one."""
_EOI, _SOS = 0xD9, 0xDA
_ALONE: Final = frozenset({0x01, 0xD8})  # TEM and SOI have no length
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""The next marker, as libjpeg searches for it: other bytes between segments are passed over, and so are the bytes FF 00 and
the restart markers in the data of a scan."""


def check_structure(data: bytes, form: str) -> None:
    """Raise Refused if a JPEG, PNG or WEBP file has too many parts. A file that ends early is left to the decoder."""
    try:
        {"JPEG": _check_jpeg, "PNG": _check_png, "WEBP": _check_webp}[form](data)
    except (IndexError, struct.error):
        return


def _check_jpeg(data: bytes) -> None:
    """The segments up to the end of the first image (ITU T.81, B.1.1); what follows it is not decoded."""
    at, scans, segments = 2, 0, 0
    while following := _MARKER.search(data, at):
        marker, at = data[following.end() - 1], following.end()
        if marker == _EOI:
            return
        if marker == _SOS:
            scans += 1
        else:
            segments += 1
        if scans > MAX_SCANS:
            raise _too_many_scans()
        if segments > MAX_SEGMENTS:
            raise _too_many_parts(MAX_SEGMENTS)
        if marker not in _ALONE:
            at += max(2, struct.unpack_from(">H", data, at)[0])


def _check_png(data: bytes) -> None:
    at, chunks, data_chunks = 8, 0, 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        at += 12 + length
        if kind == b"IEND":
            return
        if kind == b"IDAT":
            data_chunks += 1
        else:
            chunks += 1
        if data_chunks > MAX_DATA_CHUNKS or chunks > MAX_CHUNKS:
            raise _too_many_parts(MAX_CHUNKS)


def _check_webp(data: bytes) -> None:
    """The chunks of a RIFF file; each is padded to an even length (RFC 9649, 2.3)."""
    at, chunks = 12, 0
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    while at < min(end, len(data)):
        (length,) = struct.unpack_from("<I", data, at + 4)
        at += 8 + length + length % 2
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise _too_many_parts(MAX_CHUNKS)


def _too_many_scans() -> Refused:
    return refusal(
        "too_many_scans",
        f"图片为渐进式 JPEG，扫描次数超过 {MAX_SCANS}，属于异常文件；请换一张，或用看图软件另存为普通 JPEG 后再试",
        f"the picture is a progressive JPEG with more than {MAX_SCANS} scans, which no camera makes; open it, save it as an "
        "ordinary JPEG and send that",
    )


def _too_many_parts(bound: int) -> Refused:
    return refusal(
        "too_many_parts",
        f"图片文件由 {bound} 个以上的数据段组成，属于异常文件；请换一张，或用看图软件另存为 JPEG 后再试",
        f"the picture's file consists of more than {bound} parts, which is not normal; open it, save it as JPEG and send that",
    )
