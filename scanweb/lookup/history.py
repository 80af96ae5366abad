"""An item's own status and its scan history: the query to Redis and how its reply reads.

One function in Redis (`zpcode/wire/functions/library.py`) reads and counts in one step, so that of two simultaneous scans exactly
one is counted as the first. One call serves all scans of a round trip. The authority loads the function; where it is
missing, the history is not available and everything else comes from the database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from zpcode.wire import redis_keys
from zpcode.wire.card import History
from zpcode.wire.functions import histories, library

VISITOR_BYTES: Final = 4
"""How much of a visitor's mark a history keeps: enough to tell the visitors of one item apart, too little for more."""
_PARTS: Final = 5  # elements of a reply for one query
_TIMELINE_LOADED, _HISTORY_COMPLETE, _COUNTED, _UNREADABLE = 1, 2, 4, 8  # flags of a reply
_LATEST: Final = 2**32 - 1


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

    `loaded`: a missing timeline means that there is none. `away`: the server did not answer, or what it has as a history
    is not one; then it is not completed from the database.
    """

    timeline: bytes | None = None
    loaded: bool = False
    history: History | None = None
    counted: bool = False
    away: bool = False


EMPTY: Final = ItemReply()
AWAY: Final = ItemReply(away=True)


def command(queries: Sequence[ItemQuery], *, evicting: bool) -> tuple[str | int | bytes, ...]:
    """The Redis command for at least one query.

    `evicting`: this Redis drops keys when memory is short, so that a missing entry does not mean "never scanned".
    """
    keys: list[str | int | bytes] = []
    arguments: list[str | int | bytes] = [queries[0].now, redis_keys.VISIT_SECONDS, "1" if evicting else "0"]
    for query in queries:
        bucket, field = redis_keys.history(query.number, query.index)
        keys.append(bucket)
        arguments += (field, query.visitor, query.city, query.index if query.own else b"")
    return ("FCALL", library.ITEMS, len(keys), *keys, *arguments)


def read_all(replies: object, count: int) -> list[ItemReply]:
    """The function's replies to `count` queries; all `AWAY` for an error, all `EMPTY` where they cannot be read."""
    if isinstance(replies, Exception):
        return [AWAY] * count
    if not isinstance(replies, list) or len(replies) != _PARTS * count:
        return [EMPTY] * count
    return [read(*replies[at : at + _PARTS]) for at in range(0, len(replies), _PARTS)]


def read(flags: Any, number: Any, first_at: Any, city: Any, timeline: Any) -> ItemReply:
    """The reply to one query, whose five parts may be anything; `EMPTY` where one has another type or is out of range.

    Only `timeline` is the authority's. The other parts come from what the scan service may write itself.
    """
    if type(flags) is not int or not (timeline is None or type(timeline) is bytes):
        return EMPTY
    history = None
    if flags & _HISTORY_COMPLETE:
        if type(number) is not int or type(first_at) is not int or type(city) is not bytes:
            return EMPTY
        if not (0 <= number <= histories.MAX_SCANS and 0 <= first_at <= _LATEST):
            return EMPTY
        history = History(number, first_at, _city(city) if city else "")
    return ItemReply(timeline, flags & _TIMELINE_LOADED != 0, history, flags & _COUNTED != 0, flags & _UNREADABLE != 0)


def _city(value: bytes) -> str:
    try:
        return histories.read_city(value)
    except ValueError:
        return ""
