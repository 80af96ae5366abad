"""The audit log's hash chain: what an entry's hash covers, and how a chain is checked.

Each entry's hash is SHA-256 over the hash before it and its own canonical JSON, so that changing,
removing or reordering any entry shows in every one after it (as in RFC 9162's predecessors: a linked list).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `detail` is JSON of strings, integers, booleans, null, lists and objects."""

    id: int
    at: datetime
    actor: str
    action: str
    object: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Break:
    """The first entry at which a chain is broken, and how: `gap`, `previous` or `hash`."""

    id: int
    kind: str


def digest(previous: bytes, entry: Entry) -> bytes:
    """The hash of an entry that follows the one hashed `previous` (32 bytes)."""
    line = [
        entry.id,
        entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        entry.actor,
        entry.action,
        entry.object,
        entry.detail,
    ]
    text = json.dumps(line, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(previous + text.encode("utf-8")).digest()


def first_break(rows: Iterable[tuple[Entry, bytes, bytes]]) -> tuple[int, bytes, Break | None]:
    """Check entries in order, each with the (previous, hash) stored beside it.

    Returns how many entries are whole, the hash of the last of them, and the first break or None.
    """
    whole, head = 0, GENESIS
    for entry, previous, stored in rows:
        if entry.id != whole + 1:
            return whole, head, Break(whole + 1, "gap")
        if previous != head:
            return whole, head, Break(entry.id, "previous")
        if digest(previous, entry) != stored:
            return whole, head, Break(entry.id, "hash")
        whole, head = entry.id, stored
    return whole, head, None
