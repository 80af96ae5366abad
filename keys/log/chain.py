"""The hash chain of the signing log, and what its lines say about how far the signer has come.

Each line is one JSON object. `prev` is the SHA-256 (hex) of the line before it, without its line feed; the first line of all has
64 zeros. A file that follows another one (log rotation) begins with a line of the kind `continued`: its `prev` is the last line
of the file before, and it repeats the high water, so that one file is enough to know it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from keys.audit_head import SignedHead, head_fields

BEGINNING: Final = "0" * 64
CONTINUED: Final = "continued"


class _Line(msgspec.Struct):
    """The members of a line that the high water needs. Lines of before the chain have no `prev`."""

    kind: str = ""
    prev: str | None = None
    batch: int = 0
    id: int = 0
    hash: str = ""
    at: int = 0
    key: str = ""
    signature: str = ""


_DECODE = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class LogTail:
    """The end of the log: the hash of its last line, the highest batch number and the newest countersigned head."""

    last: str = BEGINNING
    batch: int = 0
    head: SignedHead | None = None


@dataclass(frozen=True, slots=True)
class LogFault:
    """The first wrong line: its number from 1, and how: `unreadable`, `unchained`, `previous`, `order`, or `high water`."""

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
    head = {} if tail.head is None else head_fields(tail.head)
    return {"kind": CONTINUED, "batch": tail.batch, **head}


def _head(line: _Line) -> SignedHead | None:
    if not line.id or line.kind not in {"audit-head", CONTINUED}:
        return None
    return SignedHead(line.id, bytes.fromhex(line.hash), line.at, line.key, bytes.fromhex(line.signature))


def after(tail: LogTail, line: bytes) -> LogTail:
    """The tail after one more line. A line that a power failure has torn counts in the chain only."""
    tail = replace(tail, last=hash_of(line))
    try:
        fields = _DECODE(line)
        head = _head(fields)
    except (msgspec.MsgspecError, ValueError):
        return tail
    if fields.batch > tail.batch:
        tail = replace(tail, batch=fields.batch)
    if head is not None and (tail.head is None or head.id >= tail.head.id):
        tail = replace(tail, head=head)
    return tail


def first_fault(lines: Iterable[bytes]) -> tuple[int, LogTail, LogFault | None]:
    """Check the lines of one file or of several files in order, without their line feeds.

    Returns the number of good lines, the tail after them, and the first fault or None. The first line may continue a file that
    is not there. Lines of before the chain have no `prev` and may only stand at the beginning.
    """
    count, tail = 0, LogTail()
    chain_began = False
    for line in lines:
        kind = _fault(line, tail, first=count == 0, chain_began=chain_began)
        if kind:
            return count, tail, LogFault(count + 1, kind)
        chain_began = chain_began or _DECODE(line).prev is not None
        count, tail = count + 1, after(tail, line)
    return count, tail, None


def _fault(line: bytes, tail: LogTail, *, first: bool, chain_began: bool) -> str:
    try:
        fields = _DECODE(line)
        head = _head(fields)
    except (msgspec.MsgspecError, ValueError):
        return "unreadable"
    if fields.prev is None:
        return "unchained" if chain_began else ""
    if fields.prev != tail.last and not (first and fields.kind == CONTINUED):
        return "previous"
    if fields.kind == CONTINUED and not first and (fields.batch, head) != (tail.batch, tail.head):
        return "high water"
    if head is None or tail.head is None:
        return ""
    repeats = head.id == tail.head.id and head.hash == tail.head.hash
    return "" if head.id > tail.head.id or repeats else "order"
