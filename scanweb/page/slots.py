"""Pages with slots: rendered once, compressed once, and filled for every scan by joining bytes.

A gzip file (RFC 1952) consists of blocks (RFC 1951), and its checksum can be computed from the checksums of its parts
(zlib's `crc32_combine`, which Python does not offer). So a compressed page is filled as cheaply as a plain one: the values
are stored blocks between the compressed pieces.
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cached_property
from operator import itemgetter
from typing import Any, Final

SLOTS: Final = tuple(chr(number) for number in range(4))
"""The characters that mark slots in a rendered page; the slot's number is the index of its value. Texts never hold them."""
_SLOT: Final = re.compile(f"[{''.join(SLOTS)}]")
_LEVEL: Final = 9
_HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
_STORED: Final = struct.Struct("<BHH")
_TAIL: Final = struct.Struct("<II")
_POLYNOMIAL: Final = 0xEDB88320
MIN_COMPRESSED: Final = 256
"""Text between two slots is compressed from this number of bytes on."""
MAX_PIECES: Final = 2048

CrcTables = tuple["array[int]", "array[int]", "array[int]", "array[int]"]
"""Four tables of 256 numbers: 4 KB for each slot of each page that is kept. As lists they would take ten times as much."""
Run = tuple[bytes, Callable[[tuple[bytes, ...]], tuple[bytes, ...]], int, int, CrcTables]
"""A format for its values, the choice of these values, length and checksum of the text after the run, and the tables that
extend a checksum over that text."""


class SlottedPage:
    """Rendered text with slots, as pieces of bytes. The pieces between the slots are the same objects for every scan.

    A page of thirty kilobytes is never joined here: its pieces go to the socket as they are.
    """

    def __init__(self, rendered: str) -> None:
        self._order = [SLOTS.index(slot) for slot in _SLOT.findall(rendered)]
        self._between = [text.encode() for text in _SLOT.split(rendered)]
        self._pieces = [piece for text in self._between for piece in (text, b"")][:-1]
        self._values = _picker(self._order)

    def plain(self, values: tuple[bytes, ...]) -> list[bytes]:
        """The text in pieces, each slot filled with its value."""
        filled = self._pieces.copy()
        filled[1::2] = self._values(values)
        return filled

    def gzipped(self, values: tuple[bytes, ...]) -> list[bytes]:
        """The same as a gzip file. The values of one run, with the text between them, may take 65 535 bytes."""
        compressed, length, crc, runs = self._compressed
        filled = compressed.copy()
        place = 1
        for form, pick, size, own, tables in runs:
            value = form % pick(values)
            count = len(value)
            filled[place] = _STORED.pack(0, count, count ^ 0xFFFF) + value
            crc = zlib.crc32(value, crc)
            crc = (
                tables[0][crc & 255]
                ^ tables[1][crc >> 8 & 255]
                ^ tables[2][crc >> 16 & 255]
                ^ tables[3][crc >> 24]
                ^ own
            )
            length += count + size
            place += 2
        filled.append(_TAIL.pack(crc, length & 0xFFFFFFFF))
        return filled

    @cached_property
    def _compressed(self) -> tuple[list[bytes], int, int, list[Run]]:
        """The compressed pieces with places for the runs between them; length and checksum of the first piece; the runs.

        A run is one slot, or several slots with less than `MIN_COMPRESSED` bytes between them.
        """
        first, *others = self._between
        pieces, runs = [first], list[Run]()
        form, slots, last = b"", list[int](), len(others) - 1
        for place, (slot, text) in enumerate(zip(self._order, others, strict=True)):
            form, slots = form + b"%b", [*slots, slot]
            if len(text) < MIN_COMPRESSED and place < last:
                form += text.replace(b"%", b"%%")
                continue
            runs.append((form, _picker(slots), len(text), zlib.crc32(text), _extension_tables(len(text))))
            pieces.append(text)
            form, slots = b"", []
        blocks = [_block(text, last=place == len(pieces) - 1) for place, text in enumerate(pieces)]
        blocks[0] = _HEAD + blocks[0]
        return [piece for block in blocks for piece in (block, b"")][:-1], len(first), zlib.crc32(first), runs


def _picker(slots: list[int]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    """A function that picks the values of these slots."""
    if len(slots) > 1:
        return itemgetter(*slots)
    return lambda values: tuple([values[slot] for slot in slots])


def _block(text: bytes, *, last: bool) -> bytes:
    """Text as deflate blocks that do not refer to earlier blocks and end at a byte boundary."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(text) + deflate.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def _extension_tables(count: int) -> CrcTables:
    """Tables that extend a checksum over `count` further bytes: multiplication by x to the power of 8 times `count`."""
    power = _power(8 * count)
    bits = [_product(power, 1 << bit) for bit in range(32)]

    def table(first: int) -> array[int]:
        row = array("I", bytes(4 * 256))
        for bit in range(8):
            for number in range(1 << bit, 2 << bit):
                row[number] = row[number ^ 1 << bit] ^ bits[first + bit]
        return row

    return table(0), table(8), table(16), table(24)


def _power(exponent: int) -> int:
    """A power of x modulo the CRC's polynomial; bits in reversed order, as in CRC-32."""
    power, square = 1 << 31, 1 << 30
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return power


def _product(one: int, other: int) -> int:
    """The product of two polynomials over GF(2), modulo the CRC's polynomial."""
    product = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (_POLYNOMIAL if other & 1 else 0)
    return product


class RenderedPieces:
    """The last `most` rendered pieces, each with the objects it was rendered from: while these live, their ids are unique."""

    __slots__ = ("_most", "_pieces")

    def __init__(self, most: int = MAX_PIECES) -> None:
        self._most = most
        self._pieces: OrderedDict[Hashable, tuple[tuple[object, ...], Any]] = OrderedDict()

    def get(self, sources: tuple[object, ...], key: Hashable, make: Callable[[], Any]) -> Any:
        """The piece for these objects and this key, made where it is missing."""
        full = (key, *map(id, sources))
        entry = self._pieces.get(full)
        if entry is None:
            entry = self._pieces[full] = (sources, make())
            if len(self._pieces) > self._most:
                self._pieces.popitem(last=False)
        return entry[1]
