"""An item's own status and its scan history: what is asked of Redis, and how the answer reads.

One Lua script (`history.lua`) looks and counts in the same step, so that two scans at once never both
hear that they are the first.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zpcode.wire import redis_keys
from zpcode.wire.card import History, batch_key

SCRIPT: Final = (Path(__file__).parent / "history.lua").read_text("ascii")
SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
KEYS: Final = 2  # the script's writable keys
_HEAD = struct.Struct(">BIIB")
_LOADED, _KNOWN, _COUNTED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Look:
    """A look at one item. `count` asks that this view be counted, for `visitor` (16 hexadecimal digits)."""

    number: int
    index: int
    now: int
    count: bool = False
    visitor: str = ""
    city: str = ""

    def arguments(self, *, evicting: bool) -> tuple[str | int, ...]:
        """The script's keys and arguments, in order."""
        bucket, field = redis_keys.history(self.number, self.index)
        return (
            bucket,
            redis_keys.visit(self.number, self.index, self.visitor),
            field,
            self.index,
            "1" if self.count else "0",
            self.now,
            self.city,
            redis_keys.VISIT_SECONDS,
            "1" if evicting else "0",
            redis_keys.place(batch_key(self.number))[0],
            redis_keys.history_complete(self.number),
            redis_keys.exceptions(self.number),
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What the look found. `timeline` is the item's own, as stored; `history` is None where it is not known.

    `loaded` says that a missing timeline means there is none.
    """

    timeline: bytes | None = None
    loaded: bool = False
    history: History | None = None
    counted: bool = False


UNSEEN: Final = Seen()


def read(reply: object) -> Seen:
    """The script's answer; `UNSEEN` where the batch is not in Redis or the answer is none of ours."""
    if not isinstance(reply, bytes) or len(reply) < _HEAD.size:
        return UNSEEN
    flags, number, first_at, length = _HEAD.unpack_from(reply)
    place = reply[_HEAD.size : _HEAD.size + length].decode("utf-8", "replace")
    known = bool(flags & _KNOWN)
    return Seen(
        reply[_HEAD.size + length :] or None,
        bool(flags & _LOADED),
        History(number, first_at, place) if known else None,
        bool(flags & _COUNTED),
    )
