"""The hash chain of the signing log, and what its lines say about how far the signer has come.

Each line is one JSON object. `prev` is the SHA-256 (hex) of the line before it, without its line feed; the first line of all has
64 zeros. A file that follows another one (log rotation) begins with a line of the kind `continued`: its `prev` is the last line
of the file before, and it repeats the high water, so that one file is enough to know it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from keys.audit_head import SignedHead, head_fields
from keys.log.ceiling import ReachedValue, seconds_of

BEGINNING: Final = "0" * 64
CONTINUED: Final = "continued"
_HEAD_KINDS: Final = frozenset({"audit-head", CONTINUED})


class LogLine(msgspec.Struct, frozen=True, gc=False):
    """One line of the log. Members that its kind does not have are empty or 0. Lines of before the chain have no `prev`.

    Kinds: `product`, `lot` and `items` (codes that were signed: `gtin`, `count`, for `items` also `batch` and the first of its slots),
    `audit-head` (a countersigned head: `id`, `hash`, `at`, `signature`, `key`) and `continued` (the high water of the file before, its
    latest time, and the first values of the log: `first_batch`, `first_id`, each with the seconds since 1970 when it was written).
    `sha256` is the hash of the signed bytes of all codes, `uid` the user who asked, `time` the signer's time (ISO 8601).
    """

    kind: str = ""
    prev: str | None = None
    time: str = ""
    uid: int = 0
    key: str = ""
    gtin: str = ""
    lot: str = ""
    batch: int = 0
    first_slot: int = 0
    count: int = 0
    sha256: str = ""
    id: int = 0
    hash: str = ""
    at: int = 0
    signature: str = ""
    first_batch: int = 0
    first_batch_at: int = 0
    first_id: int = 0
    first_id_at: int = 0

    @property
    def head(self) -> SignedHead | None:
        """The countersigned head in this line. Its signature is not verified."""
        if not self.id or self.kind not in _HEAD_KINDS:
            return None
        return SignedHead(self.id, bytes.fromhex(self.hash), self.at, self.key, bytes.fromhex(self.signature))


_DECODE = msgspec.json.Decoder(LogLine).decode


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of the log: the hash of its last line, the highest batch number and the newest countersigned head.

    `time` is its latest time (ISO 8601, UTC). `first_batch` and `first_id` are the first batch number and audit entry of all.
    """

    last: str = BEGINNING
    batch: int = 0
    head: SignedHead | None = None
    time: str = ""
    first_batch: ReachedValue | None = None
    first_id: ReachedValue | None = None

    def now(self, clock: datetime) -> int:
        """The time in seconds since 1970, but no earlier than the log's: a clock that goes back takes back nothing."""
        return max(int(clock.timestamp()), seconds_of(self.time))


@dataclass(frozen=True, slots=True)
class LogFault:
    """The first wrong line: its number from 1, and how: `unchained`, `previous`, `order`, or `high water`."""

    line: int
    kind: str


def hash_of(line: bytes) -> str:
    """The hash of a line, in hex. `line` has no line feed."""
    return hashlib.sha256(line).hexdigest()


def chained(fields: dict[str, Any], previous: str) -> bytes:
    """The line of an entry, with its line feed. `previous` is the hash of the line before it."""
    text = json.dumps({"prev": previous, **fields}, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8") + b"\n"


def continued(tail: LogTail) -> dict[str, Any]:
    """The fields of the first line of a file that follows another one."""
    fields: dict[str, Any] = {"time": tail.time, "kind": CONTINUED, "batch": tail.batch}
    if tail.head is not None:
        fields |= head_fields(tail.head)
    for name, first in (("first_batch", tail.first_batch), ("first_id", tail.first_id)):
        if first is not None:
            fields |= {name: first.value, f"{name}_at": first.at}
    return fields


def _decoded(line: bytes) -> tuple[LogLine | None, SignedHead | None]:
    """A line and its head; None for a line that a power failure has torn."""
    try:
        fields = _DECODE(line)
        head = fields.head
    except (msgspec.MsgspecError, ValueError):
        return None, None
    return fields, head


def after(tail: LogTail, line: bytes) -> LogTail:
    """The tail after one more line. A line that a power failure has torn counts in the chain only."""
    reader = ChainReader(tail)
    reader.read(line)
    return reader.tail


def _first(known: ReachedValue | None, fields: LogLine, value: int, first: int, first_at: int) -> ReachedValue:
    """The first value of the log, after a line that has one. A file that earlier versions continued does not repeat it."""
    if known is None and first:
        return ReachedValue(first, first_at)
    return ReachedValue(value if known is None else known.value, seconds_of(fields.time) or fields.at)


class ChainReader:
    """Checks the lines of one file, or of several files in order, one line at a time.

    The first line may continue a file that is not there. Lines of before the chain have no `prev` and may only stand at the beginning.
    A line that a power failure has torn is no fault if the next one follows it: the chain covers its bytes. Reading goes on after a
    fault, and only the first fault is kept.

    `lines` counts all lines and `torn` those that cannot be read. `tail` is what was read before, and then the end of it.
    """

    __slots__ = (
        "_batch",
        "_chain_began",
        "_first_batch",
        "_first_id",
        "_head",
        "_last",
        "_time",
        "fault",
        "lines",
        "torn",
    )

    def __init__(self, tail: LogTail | None = None) -> None:
        self.lines = 0
        self.torn = 0
        self.fault: LogFault | None = None
        self._chain_began = False
        tail = tail or LogTail()
        self._last, self._batch, self._head, self._time = tail.last, tail.batch, tail.head, tail.time
        self._first_batch, self._first_id = tail.first_batch, tail.first_id

    @property
    def tail(self) -> LogTail:
        """The end of what was read. It is made anew each time: a reader of millions of lines makes one."""
        return LogTail(self._last, self._batch, self._head, self._time, self._first_batch, self._first_id)

    def read(self, line: bytes) -> LogLine | None:
        """Check the next line (without its line feed) and return it; None if it is torn."""
        self.lines += 1
        fields, head = _decoded(line)
        if fields is None:
            self.torn += 1
        elif (kind := self._wrong(fields, head)) and self.fault is None:
            self.fault = LogFault(self.lines, kind)
        self._last = hash_of(line)
        if fields is None:
            return None
        self._time = max(self._time, fields.time)
        self._batch = max(self._batch, fields.batch)
        if fields.batch and (self._first_batch is None or not self._first_batch.at):
            self._first_batch = _first(
                self._first_batch, fields, fields.batch, fields.first_batch, fields.first_batch_at
            )
        if fields.id and (self._first_id is None or not self._first_id.at):
            self._first_id = _first(self._first_id, fields, fields.id, fields.first_id, fields.first_id_at)
        if head is not None and (self._head is None or head.id >= self._head.id):
            self._head = head
        return fields

    def _wrong(self, fields: LogLine, head: SignedHead | None) -> str:
        first, before = self.lines == 1, self._head
        if fields.prev is None:
            return "unchained" if self._chain_began else ""
        self._chain_began = True
        if fields.prev != self._last and not (first and fields.kind == CONTINUED):
            return "previous"
        if fields.kind == CONTINUED and not first and not self._repeated_by(fields, head):
            return "high water"
        if head is None or before is None:
            return ""
        repeats = head.id == before.id and head.hash == before.hash
        return "" if head.id > before.id or repeats else "order"

    def _repeated_by(self, fields: LogLine, head: SignedHead | None) -> bool:
        """Whether a line repeats the high water, and the first values unless an earlier version wrote it."""
        firsts = ((fields.first_batch, self._first_batch), (fields.first_id, self._first_id))
        same = all(not value or (first is not None and first.value == value) for value, first in firsts)
        return same and (fields.batch, head) == (self._batch, self._head)
