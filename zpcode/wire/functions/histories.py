"""An item's history as one field of a bucket in Redis, for those that read or write it beside the function.

The text of `zpcode.wire.functions.library` describes the layout. It is fixed, so that nothing in an entry can be taken for
something else. The scan service may write any bytes into a bucket, so each reader checks every length.
"""

from __future__ import annotations

import struct
from typing import Final

from zpcode.wire.card import History

MAX_SCANS: Final = 2**31 - 1
MAX_CITY: Final = 64
VISIT_BYTES: Final = 9
MAX_VISITS: Final = 4
_HEAD: Final = struct.Struct(">IIB")


def pack(history: History) -> bytes:
    """The entry of a history without visits. A city that `read_city` refuses is left out. Raises ValueError."""
    city = history.first_city.encode("utf-8", "replace")
    try:
        read_city(city)
    except ValueError:
        city = b""
    if not history.scans >= 1 or not 0 <= history.first_at < 2**32:
        raise ValueError("a history out of range")
    return _HEAD.pack(min(history.scans, MAX_SCANS), history.first_at, len(city)) + city


def unpack(value: bytes) -> History:
    """The history of an entry. Raises ValueError where it is not one."""
    if len(value) < _HEAD.size:
        raise ValueError("a history is at least nine bytes long")
    scans, first_at, length = _HEAD.unpack_from(value)
    visits, rest = divmod(len(value) - _HEAD.size - length, VISIT_BYTES)
    if not 1 <= scans <= MAX_SCANS or length > MAX_CITY or rest or not 0 <= visits <= MAX_VISITS:
        raise ValueError("a history has another layout")
    return History(scans, first_at, read_city(value[_HEAD.size : _HEAD.size + length]))


def read_city(value: bytes) -> str:
    """A city's text. Raises ValueError where it is longer than 64 bytes, not UTF-8, or has characters that do not print."""
    city = value.decode("utf-8")
    if len(value) > MAX_CITY or not city.isprintable():
        raise ValueError("a city has other characters")
    return city
