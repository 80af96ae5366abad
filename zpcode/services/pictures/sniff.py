"""Recognise the format of a picture and its size from the header, before a decoder reads the file.

Decoders allocate memory according to the header: libwebp allocates the whole canvas twice when it opens a file. So the
size is read here first, with `struct` alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from zpcode.errors import Refused, refusal

_PNG = b"\x89PNG\r\n\x1a\n"
_NO_FRAME: Final = {0xC4, 0xC8, 0xCC}  # Huffman tables, an extension, arithmetic conditioning: among the SOF numbers
_OTHERS: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "Photoshop"),
    (0, b"PK\x03\x04", "ZIP"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "HEIC"),
)


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The format of a file as named by Pillow (JPEG, PNG, WEBP), and its stored width and height."""

    form: str
    size: tuple[int, int]


def picture_header(data: bytes) -> PictureHeader:
    """The format and size of a file. Raises Refused for another format, or if the header is incomplete."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return PictureHeader("JPEG", _jpeg(data))
        if data.startswith(_PNG) and data[12:16] == b"IHDR":
            return PictureHeader("PNG", struct.unpack_from(">II", data, 16))
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return PictureHeader("WEBP", _webp(data))
    except (struct.error, IndexError):
        raise cut_short() from None
    raise _other_format(data)


def _jpeg(data: bytes) -> tuple[int, int]:
    """The size in the first frame header, marker SOF (ITU T.81, B.2.2)."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        elif marker in {0xD8, 0x01}:
            at += 2
        else:
            at += 2 + max(2, struct.unpack_from(">H", data, at + 2)[0])
    raise cut_short()


def _webp(data: bytes) -> tuple[int, int]:
    """The size of the canvas, or of the frame in a simple file (RFC 9649, 2.7 and RFC 6386, 9.1)."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(_bytes(data, at, 3), "little") + 1 for at in (24, 27))
        return width, height
    if kind == b"VP8L":
        bits = int.from_bytes(_bytes(data, 21, 4), "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise cut_short()


def _bytes(data: bytes, at: int, count: int) -> bytes:
    part = data[at : at + count]
    if len(part) < count:
        raise IndexError
    return part


def cut_short() -> Refused:
    """The refusal of a damaged or incomplete file."""
    return refusal(
        "broken",
        "图片已损坏或不完整，请用看图软件打开，另存为 JPEG 或 PNG 后再试",
        "the picture is damaged or incomplete; open it, save it as JPEG or PNG and send that",
    )


def _other_format(data: bytes) -> Refused:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    names = [name for at, mark, name in _OTHERS if data[at : at + len(mark)] == mark]
    if start.startswith(b"<"):
        names = ["SVG" if b"<svg" in start else "HTML/XML"]
    zh, en = (f"（此文件为 {names[0]}）", f" (this is {names[0]})") if names else ("", "")
    return refusal(
        "not_a_picture",
        f"只接受 JPEG、PNG 或 WebP 图片{zh}，请另存为 JPEG 或 PNG 后再试",
        f"only JPEG, PNG and WebP pictures are accepted{en}; save it as JPEG or PNG and send that",
    )
