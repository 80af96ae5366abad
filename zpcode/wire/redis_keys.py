"""The keys of the projection in Redis. Every key has a hash tag (Redis Cluster, section "Hash tags").

    zp:{feed}:head            hash    generation (random, new at every rebuild), revision (integer), evicting (0 or 1), and
                                      marks: how far the database had come, with the code that
                                      authenticates them; for the authority alone (zpcode/projection/heads.py)
    zp:{feed}:build           string  token of the running rebuild; missing if Redis was emptied since its start
    zp:{feed}:log             stream  entry REVISION-n, field k: keys of the changed cards, one a line
    zp:{feed:N}:head …        the same three keys on every shard of a cluster, with N such that they belong to its lowest
                              slot; the head also names the slots that the shard was filled for (docs/adr/0006)
    zp:{p:GTIN}               string  ProductCard
    zp:{p:GTIN}:l:LOT         string  LotCard
    zp:{b:NUMBER}             string  BatchCard
    zp:{n:}                   string  NoticesCard
    zp:{b:NUMBER}:x           hash    INDEX -> Timeline of that item; field `_` if the hash is complete
    zp:{b:NUMBER}:h:BUCKET    hash    index within the bucket -> History and the visits of the last ten minutes
                                      (zpcode/wire/functions/library.py); field `_` once the bucket is complete
    zp:{b:NUMBER}:hc          string  exists if a missing bucket of the batch means that its items were never scanned
    zp:{s}                    hash    SCOPE:TARGET -> Timeline of a registry record; field `_` since the rebuild:
                                      without it the hash was evicted, and a missing field means nothing
    zp:{scans}:inbox          list    entries of scans as the scan service appended them; nothing in them is checked yet
    zp:{scans}:since          string  ms since 1970 at which the inbox was empty last: what is in it came later
    zp:{scans}:stream         stream  checked entries, which the worker has to drain into PostgreSQL
    zp:{salts}:DAY            string  the visitor salt of a day (days since 1970, UTC): 32 random bytes

A card or timeline is stored as its revision (8 bytes, big-endian) and its body. It is only replaced by one with a higher
revision, so a write that a frozen server executes late cannot undo a newer one.

Without a head the projection is empty, and readers ignore everything in Redis. A reader keeps cards in memory and reads
the head with every round trip; the log names the cards that changed. A head is written after all cards up to its
revision, on a cluster after those of all shards. The function library (zpcode/wire/functions/library.py) is there before the head.

The scan service may write the buckets of histories, and append to the inbox. It may write nothing else, and a reader of
these keys trusts nothing in them.
"""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from zpcode.wire.redis_cluster import tag_in


class Feed(NamedTuple):
    """The keys of one server for its progress: its head, its log, and the token of a rebuild."""

    head: str
    log: str
    build: str


def feed(lowest_slot: int | None = None) -> Feed:
    """The feed of a single server, or of the shard of a cluster with this lowest slot."""
    tag = "feed" if lowest_slot is None else tag_in(lowest_slot, "feed")
    return Feed(f"zp:{{{tag}}}:head", f"zp:{{{tag}}}:log", f"zp:{{{tag}}}:build")


def read_head(reply: object) -> tuple[str, int] | None:
    """Generation and revision, the first two of a reply to HMGET; None from an empty projection or an error."""
    if not isinstance(reply, list) or reply[0] is None or reply[1] is None:
        return None
    generation, revision = cast("tuple[bytes, bytes]", tuple(reply[:2]))
    return generation.decode("ascii", "replace"), int(revision)


def is_evicting(reply: object) -> bool:
    """Whether a missing key proves nothing, by `evicting`, the third of a reply to HMGET of a head; True if unknown."""
    return not isinstance(reply, list) or reply[2:3] != [b"0"]


HEAD: Final = feed().head
LOG: Final = feed().log
STANDINGS: Final = "zp:{s}"
INBOX: Final = "zp:{scans}:inbox"
INBOX_SINCE: Final = "zp:{scans}:since"
SCANS: Final = "zp:{scans}:stream"
SCAN_GROUP: Final = "authority"

MARKS_FIELD: Final = "marks"
CODE_FIELD: Final = "code"
LOG_LENGTH: Final = 10_000
BUCKET: Final = 128
COMPLETE: Final = "_"
VISIT_SECONDS: Final = 600
SALT_BYTES: Final = 32
"""The length of a visitor salt. A value of another length is none."""
DAY_SECONDS: Final = 86400


def pack(revision: int, body: bytes) -> bytes:
    """A card as stored in Redis: its revision, then its body."""
    return revision.to_bytes(8, "big") + body


def unpack(value: bytes) -> tuple[int, bytes]:
    """The revision and the body of a card as stored in Redis."""
    return int.from_bytes(value[:8], "big"), value[8:]


def location(card_key: str) -> tuple[str, str | None]:
    """Where the card with this key is stored: the Redis key, and the hash field or None."""
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
    """The key of the hash with the item timelines of one batch."""
    return f"zp:{{b:{number}}}:x"


def history(number: int, index: int) -> tuple[str, str]:
    """The key of the bucket with an item's history, and its field there."""
    bucket, field = divmod(index, BUCKET)
    return f"zp:{{b:{number}}}:h:{bucket}", str(field)


def history_complete(number: int) -> str:
    """The key that exists if a missing bucket of this batch means that its items were never scanned."""
    return f"zp:{{b:{number}}}:hc"


def is_history(key: bytes) -> bool:
    """Whether a key belongs to the histories of a batch: a bucket, or the mark of `history_complete`."""
    return b"}:h" in key


def salt(at: float) -> str:
    """The key of the visitor salt of the UTC day of `at` (seconds since 1970)."""
    return f"zp:{{salts}}:{int(at) // DAY_SECONDS}"
