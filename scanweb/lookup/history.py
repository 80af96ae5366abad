"""An item's own status and its scan history: what is asked of Redis, and how the answer reads.

One Lua script (`history.lua`) looks and counts in the same step, so that two scans at once never both
hear that they are the first. One call of it serves all scans of a round trip.
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
"""How much of a visitor's mark a history keeps: enough to tell visitors of one item apart, too little for more."""
_HEAD = struct.Struct(">BIIB")
_LOADED, _KNOWN, _COUNTED = 1, 2, 4


class HistoryQuery(msgspec.Struct, frozen=True, gc=False):
    """A look at one item at `now` (seconds since 1970). `visitor` (empty, or 4 bytes) asks that this view be counted.

    `own` says that items of this batch have standings of their own, so that this one's is to be read.
    """

    number: int
    index: int
    now: int
    visitor: bytes = b""
    city: str = ""
    own: bool = True


class HistoryReply(msgspec.Struct, frozen=True):
    """What the look found. `timeline` is the item's own, as stored; `history` is None where it is not known.

    `loaded` says that a missing timeline means there is none, `away` that the server did not answer.
    """

    timeline: bytes | None = None
    loaded: bool = False
    history: History | None = None
    counted: bool = False
    away: bool = False


UNSEEN: Final = HistoryReply()
AWAY: Final = HistoryReply(away=True)


def command(looks: Sequence[HistoryQuery], *, evicting: bool, script: bool = False) -> tuple[str | int | bytes, ...]:
    """The Redis command for at least one look: by the script's digest, or with the script itself."""
    keys: list[str | int | bytes] = []
    arguments: list[str | int | bytes] = [looks[0].now, redis_keys.VISIT_SECONDS, "1" if evicting else "0"]
    for look in looks:
        bucket, field = redis_keys.history(look.number, look.index)
        keys.append(bucket)
        arguments += (field, look.visitor, look.city, look.index if look.own else b"")
    return ("EVAL" if script else "EVALSHA", SCRIPT if script else SHA, len(keys), *keys, *arguments)


def read_all(replies: object, count: int) -> list[HistoryReply]:
    """The script's answers to `count` looks; `UNSEEN` throughout where the answer is none of ours, `AWAY` for an error."""
    if isinstance(replies, Exception):
        return [AWAY] * count
    if not isinstance(replies, list) or len(replies) != count:
        return [UNSEEN] * count
    return [read(reply) for reply in replies]


def read(reply: object) -> HistoryReply:
    """One look's answer; `UNSEEN` where the batch is not in Redis or the answer is none of ours."""
    if not isinstance(reply, bytes) or len(reply) < _HEAD.size:
        return UNSEEN
    flags, number, first_at, length = _HEAD.unpack_from(reply)
    end = _HEAD.size + length
    place = reply[_HEAD.size : end].decode("utf-8", "replace") if length else ""
    return HistoryReply(
        reply[end:] or None,
        flags & _LOADED != 0,
        History(number, first_at, place) if flags & _KNOWN else None,
        flags & _COUNTED != 0,
    )
