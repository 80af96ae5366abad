"""An item's own status and its scan history: the query to Redis and how its reply reads.

One Lua script (`history.lua`) reads and counts in one step, so that of two simultaneous scans exactly one is counted as
the first. One call of the script serves all scans of a round trip.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from zpcode.wire import redis_keys
from zpcode.wire.card import History

SCRIPT: Final = (Path(__file__).parent / "history.lua").read_text("ascii")
SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
VISITOR_BYTES: Final = 4
"""How much of a visitor's mark a history keeps: enough to tell the visitors of one item apart, too little for more."""
_HEAD = struct.Struct(">BIIB")
_TIMELINE_LOADED, _HISTORY_COMPLETE, _COUNTED = 1, 2, 4  # flags of a reply


class ItemQuery(msgspec.Struct, frozen=True, gc=False):
    """A query for one item at `now` (seconds since 1970). With a `visitor` (4 bytes) the view is counted, else it is not.

    `own` asks for the item's own timeline too: only where items of the batch have one.
    """

    number: int
    index: int
    now: int
    visitor: bytes = b""
    city: str = ""
    own: bool = True


class ItemReply(msgspec.Struct, frozen=True):
    """The reply: the item's own timeline as stored, and its history (None where Redis does not have it complete).

    `loaded`: a missing timeline means that there is none. `away`: the server did not answer.
    """

    timeline: bytes | None = None
    loaded: bool = False
    history: History | None = None
    counted: bool = False
    away: bool = False


EMPTY: Final = ItemReply()
AWAY: Final = ItemReply(away=True)


def command(queries: Sequence[ItemQuery], *, evicting: bool, script: bool = False) -> tuple[str | int | bytes, ...]:
    """The Redis command for at least one query: by the script's digest, or with the script itself.

    `evicting`: this Redis drops keys when memory is short, so that a missing entry does not mean "never scanned".
    """
    keys: list[str | int | bytes] = []
    arguments: list[str | int | bytes] = [queries[0].now, redis_keys.VISIT_SECONDS, "1" if evicting else "0"]
    for query in queries:
        bucket, field = redis_keys.history(query.number, query.index)
        keys.append(bucket)
        arguments += (field, query.visitor, query.city, query.index if query.own else b"")
    return ("EVAL" if script else "EVALSHA", SCRIPT if script else SHA, len(keys), *keys, *arguments)


def read_all(replies: object, count: int) -> list[ItemReply]:
    """The script's replies to `count` queries; all `AWAY` for an error, all `EMPTY` where they cannot be read."""
    if isinstance(replies, Exception):
        return [AWAY] * count
    if not isinstance(replies, list) or len(replies) != count:
        return [EMPTY] * count
    return [read(reply) for reply in replies]


def read(reply: object) -> ItemReply:
    """The reply to one query; `EMPTY` where the batch is not in Redis or the reply cannot be read."""
    if not isinstance(reply, bytes) or len(reply) < _HEAD.size:
        return EMPTY
    flags, number, first_at, length = _HEAD.unpack_from(reply)
    end = _HEAD.size + length
    city = reply[_HEAD.size : end].decode("utf-8", "replace") if length else ""
    return ItemReply(
        reply[end:] or None,
        flags & _TIMELINE_LOADED != 0,
        History(number, first_at, city) if flags & _HISTORY_COMPLETE else None,
        flags & _COUNTED != 0,
    )
