"""Scan events: the entries of scans in Redis, which the worker drains into PostgreSQL.

An entry is a MessagePack array of the `ScanEvent`s of one round trip. The scan service (`scanweb.lookup.redis_reader`)
appends it to the list `redis_keys.INBOX`. The worker moves it into the stream `redis_keys.SCANS`
(`zpcode.services.inbox`), in field `e`, with the time `s` (ms since 1970) at which the inbox was empty last, and drains it
(`zpcode.services.scans`). An event has no personal data: the network is shortened
to /24 or /48, and the visitor is a keyed hash whose key is deleted after a day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

EVENT_FIELD: Final = b"e"
SINCE_FIELD: Final = b"s"
AT_ONCE: Final = 250
"""The most scans of one entry, so that an entry is never too large for a reader."""
MAX_ENTRY_BYTES: Final = 96 * 1024
"""The longest entry. 250 scans with the longest texts that the scan service writes are shorter (a test)."""


class ScanEvent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One scan of any kind.

    `at_ms` is milliseconds since 1970 in UTC. `batch` and `index` are None if the code is not an item
    code or its batch is unknown. `verdict` is a `wire.verdict.Verdict`, `city` the text of a `Place` (see
    `place_text`), `network` CIDR notation or empty, `visitor` 8 bytes or empty. `channel` is wechat, alipay,
    dingtalk, browser or other if a person scanned the code, else typed, preview, prefetch, embedded or head. `counted` is True if
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
_DECODER = msgspec.msgpack.Decoder(Annotated[list[ScanEvent], msgspec.Meta(max_length=AT_ONCE)])


def encode(events: Sequence[ScanEvent]) -> bytes:
    """The entry of at most `AT_ONCE` scans."""
    return _ENCODER.encode(events)


def decode(value: bytes) -> list[ScanEvent]:
    """The scans of an entry, at most `AT_ONCE`. Raises ValueError on anything else."""
    events: list[ScanEvent] = _DECODER.decode(value)
    return events


def place_text(zh: str, en: str) -> str:
    """A city in both languages, as in histories and events: `杭州|Hangzhou`; empty if unknown.

    At most 28 bytes for both names, because a history also has to hold the visits of ten minutes. If both names are
    longer, the text is the Chinese name alone, at most 36 bytes.
    """
    zh, en = _plain(zh), _plain(en)
    both = f"{zh or en}|{en or zh}" if zh or en else ""
    if len(both.encode()) <= 28:
        return both
    return (zh or en).encode()[:36].decode("utf-8", "ignore")


def _plain(name: str) -> str:
    return "".join(one if one.isprintable() and one != "|" else " " for one in name).strip()


def place_name(text: str, language: str) -> str:
    """The city's name in a language, from a text of `place_text`. A text without `|` is the same in every language."""
    zh, separator, en = text.partition("|")
    return en if separator and not language.lower().startswith("zh") else zh
