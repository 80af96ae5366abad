"""Scan events: the entries of the Redis stream `redis_keys.SCANS`, which the worker drains into PostgreSQL.

An entry has one field `e`: a MessagePack array of the `ScanEvent`s of one round trip. Writer:
`scanweb.lookup.redis_reader`; reader: `zpcode.services.scans`. An event has no personal data: the network is shortened
to /24 or /48, and the visitor is a keyed hash whose key is deleted after a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

EVENT_FIELD: Final = b"e"
AT_ONCE: Final = 250
"""The most scans of one entry, so that an entry is never too large for a reader."""


class ScanEvent(msgspec.Struct, frozen=True, array_like=True):
    """One scan of any kind.

    `at_ms` is milliseconds since 1970 in UTC. `batch` and `index` are None if the code is not an item
    code or its batch is unknown. `verdict` is a `wire.verdict.Verdict`, `city` the text of a `Place` (see
    `place_text`), `network` CIDR notation or empty, `visitor` 8 bytes or empty. `channel` is wechat, alipay,
    dingtalk, browser or other if a person scanned the code, else typed, preview, prefetch or head. `counted` is True if
    the scan counts in the item's history: a person saw the page of a verified item code for the first time in ten minutes.
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
    """A city in both languages, as in histories and events: `杭州|Hangzhou`; empty if unknown.

    At most 28 bytes for both names, because a history also has to hold the visits of ten minutes. If both names are
    longer, the text is the Chinese name alone, at most 36 bytes.
    """
    zh, en = zh.replace("|", " ").strip(), en.replace("|", " ").strip()
    both = f"{zh or en}|{en or zh}" if zh or en else ""
    if len(both.encode()) <= 28:
        return both
    return (zh or en).encode()[:36].decode("utf-8", "ignore")


def place_name(text: str, language: str) -> str:
    """The city's name in a language, from a text of `place_text`. A text without `|` is the same in every language."""
    zh, separator, en = text.partition("|")
    return en if separator and not language.lower().startswith("zh") else zh
