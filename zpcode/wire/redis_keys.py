"""Where the projection stands in Redis. Every key carries a hash tag (Redis Cluster, section "Hash tags").

    zp:{feed}:head            hash    generation (random, new at every rebuild) and revision (integer)
    zp:{feed}:build           string  token of the rebuild under way: gone where Redis was emptied during it
    zp:{feed}:log             stream  entry REVISION-n, field k: keys of the cards changed, one a line
    zp:{feed:N}:head …        the same three on every shard of a cluster, N such that they lie in its lowest slot; the
                              head also says for which slots the shard was filled (docs/adr/0006)
    zp:{p:GTIN}               string  ProductCard
    zp:{p:GTIN}:l:LOT         string  LotCard
    zp:{b:NUMBER}             string  BatchCard
    zp:{n:}                   string  NoticesCard
    zp:{b:NUMBER}:x           hash    INDEX -> Timeline of that item; field `_` says that all of them are there
    zp:{b:NUMBER}:h:BUCKET    hash    index within the bucket -> History and the visits of the last ten minutes
                                      (scanweb/lookup/history.lua); field `_` once the bucket is complete
    zp:{b:NUMBER}:hc          string  present when every bucket of the batch is complete from birth
    zp:{s}                    hash    SCOPE:TARGET -> Timeline of a registry record; field `_` from the rebuild on:
                                      without it the hash was evicted, and a missing field says nothing
    zp:{scans}:stream         stream  scans on their way to PostgreSQL
    zp:{scans}:drained        string  entries that were drained out of it so far: what else is gone was lost to its bound
    zp:{salt}:DAY             string  the day's visitor salt (days since 1970, UTC)

Every card and timeline is stored as its revision (8 bytes, big-endian) and then its body, and is only ever
replaced by one of a higher revision: a write that a frozen server carries out late cannot undo a newer one.

An absent head means an empty projection: then nothing in Redis is believed. A reader keeps cards in
memory and compares the head with every round trip; the log tells which of them went stale. A head is written after
every card up to its revision is: on a cluster after those of all shards.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from zpcode.wire.redis_cluster import tag_in


class Feed(NamedTuple):
    """The keys by which one server tells how far it is: its head, its log, and the token of a rebuild."""

    head: str
    log: str
    build: str


def feed(lowest_slot: int | None = None) -> Feed:
    """The feed of a single server, or of the shard of a cluster whose lowest slot is given."""
    tag = "feed" if lowest_slot is None else tag_in(lowest_slot, "feed")
    return Feed(f"zp:{{{tag}}}:head", f"zp:{{{tag}}}:log", f"zp:{{{tag}}}:build")


HEAD: Final = feed().head
LOG: Final = feed().log
STANDINGS: Final = "zp:{s}"
SCANS: Final = "zp:{scans}:stream"
SCAN_GROUP: Final = "authority"
DRAINED: Final = "zp:{scans}:drained"

LOG_LENGTH: Final = 10_000
BUCKET: Final = 128
COMPLETE: Final = "_"
VISIT_SECONDS: Final = 600


def pack(revision: int, body: bytes) -> bytes:
    """A card as it stands in Redis: its revision, then its body."""
    return revision.to_bytes(8, "big") + body


def unpack(value: bytes) -> tuple[int, bytes]:
    """The revision and the body of a card as it stands in Redis."""
    return int.from_bytes(value[:8], "big"), value[8:]


def place(card_key: str) -> tuple[str, str | None]:
    """Where a card stands: (Redis key, hash field or None), from its card key."""
    kind, _, rest = card_key.partition(":")
    if kind == "s":
        return STANDINGS, rest
    if kind == "x":
        number, _, index = rest.partition(":")
        return f"zp:{{b:{number}}}:x", index
    if kind == "l":
        gtin, _, lot = rest.partition(":")
        return f"zp:{{p:{gtin}}}:l:{lot}", None
    return f"zp:{{{card_key}}}", None


def exceptions(number: int) -> str:
    """The hash of one batch's item timelines."""
    return f"zp:{{b:{number}}}:x"


def history(number: int, index: int) -> tuple[str, str]:
    """The bucket an item's history stands in, and its field there."""
    bucket, field = divmod(index, BUCKET)
    return f"zp:{{b:{number}}}:h:{bucket}", str(field)


def history_complete(number: int) -> str:
    """Present when a missing bucket of this batch means: never scanned."""
    return f"zp:{{b:{number}}}:hc"


def salt(day: str) -> str:
    """The visitor salt of one day (days since 1970, in UTC)."""
    return f"zp:{{salt}}:{day}"
