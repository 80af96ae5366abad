"""Scans on their way to PostgreSQL: entries of the stream `redis_keys.SCANS`.

An entry has the one field `e`: MessagePack of an array of `ScanEvent`s, those of one round trip. Writer:
`scanweb.lookup.redis_reader`; reader: the worker that drains the stream. Nothing in it is personal: the network was cut to /24 or /48
before it came here, and the visitor is a keyed hash whose key lasts for a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

EVENT_FIELD: Final = b"e"
AT_ONCE: Final = 250
"""Scans one entry holds at most: a reader must never be handed more than it can bear at once."""


class ScanEvent(msgspec.Struct, frozen=True, array_like=True):
    """One scan of any kind.

    `at_ms` is milliseconds since 1970 in UTC. `batch` and `index` are None where the code names no item
    or its batch is not known. `verdict` is a `wire.verdict.Verdict`, `city` the text of a `Place` (see
    `place_text`), `network` CIDR notation or empty, `visitor` 8 bytes or empty. `channel` is one of
    `scanweb.visits.visitors.CHANNELS`. `counted` says that the scan belongs in the item's history: a person saw
    the page of a proven item code, for the first time in ten minutes.
    """

    at_ms: int
    gtin: str
    lot: str
    batch: int | None
    index: int | None
    verdict: str
    city: str
    network: str
    visitor: bytes
    language: str
    channel: str
    counted: bool = False


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[ScanEvent])


def encode(events: Sequence[ScanEvent]) -> bytes:
    """The value of field `e` for at most `AT_ONCE` scans."""
    return _ENCODER.encode(events)


def decode(value: bytes) -> list[ScanEvent]:
    """The scans in field `e`. Raises msgspec.MsgspecError on anything else."""
    return _DECODER.decode(value)


def place_text(zh: str, en: str) -> str:
    """A city in both languages as histories and events carry it: `杭州|Hangzhou`, empty when unknown.

    At most 28 bytes for both, so that a history has room for the visits of ten minutes; where both do not fit the
    Chinese name stands alone, in at most 36.
    """
    zh, en = zh.replace("|", " ").strip(), en.replace("|", " ").strip()
    both = f"{zh or en}|{en or zh}" if zh or en else ""
    if len(both.encode()) <= 28:
        return both
    return (zh or en).encode()[:36].decode("utf-8", "ignore")


def place_name(text: str, language: str) -> str:
    """The city's name in a language out of `place_text`; a text without `|` is the same in every language."""
    zh, separator, en = text.partition("|")
    return en if separator and not language.lower().startswith("zh") else zh
