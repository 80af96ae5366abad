"""The hash chain of the audit log: what the hash of an entry covers, and how a chain is checked.

The hash of an entry is SHA-256 over the previous hash and the canonical JSON of the entry. So a change, removal or
reordering of an entry changes the hashes of all later entries.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = bytes(32)
RECOVERY = "database.recover"
"""The action of a recovery (docs/recovery.md): the only entry that may leave numbers out before it, and says which."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. `detail` is JSON of strings, integers, booleans, null, lists and objects."""

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
    """The hash of an entry; `previous` is the hash of the entry before it (32 bytes)."""
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
    """Check entries in order; each row is an entry with its stored previous hash and hash.

    Entries are numbered without gaps, except before a recovery: its entry says which numbers a restore has lost. Returns
    the number of the last entry before the first break, its hash, and the break or None.
    """
    whole, head = 0, GENESIS
    for entry, previous, stored in rows:
        if entry.id != whole + 1 and not _leaves_out(entry, whole):
            return whole, head, Break(whole + 1, "gap")
        if previous != head:
            return whole, head, Break(entry.id, "previous")
        if digest(previous, entry) != stored:
            return whole, head, Break(entry.id, "hash")
        whole, head = entry.id, stored
    return whole, head, None


def _leaves_out(entry: Entry, whole: int) -> bool:
    """Whether an entry is a recovery that names exactly the missing numbers: those above `whole` and below its own."""
    lost = entry.detail.get("after"), entry.detail.get("lost_to")
    return entry.action == RECOVERY and entry.id > whole and lost == (whole, entry.id - 1)
