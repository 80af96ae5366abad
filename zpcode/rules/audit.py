"""The hash chain of the audit log: what the hash of an entry covers, and how a chain is checked.

The hash of an entry is SHA-256 over the previous hash and the canonical JSON of the entry. So a change, removal or
reordering of an entry changes the hashes of all later entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from zpcode.rules.record_digest import canonical

GENESIS: Final = bytes(32)
RECOVERY: Final = "database.recover"
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


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An entry that differs from its countersigned head: `rewritten` (it has another hash) or `cut` (it does not exist)."""

    id: int
    kind: str


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """A chain up to its first break: the number of entries, the last one's id and hash, and the break or None.

    `lost` has the ids that an entry of `zpcode recover` declares lost.
    """

    count: int = 0
    last: int = 0
    head: bytes = GENESIS
    lost: tuple[range, ...] = ()
    broken: Break | None = None


def digest(previous: bytes, entry: Entry) -> bytes:
    """The hash of an entry; `previous` is the hash of the entry before it (32 bytes)."""
    at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
    line = [entry.id, at, entry.actor, entry.action, entry.object, entry.detail]
    return hashlib.sha256(previous + canonical(line)).digest()


def check_chain(rows: Iterable[tuple[Entry, bytes, bytes]]) -> ChainCheck:
    """Check entries in order; each row is an entry with its stored previous hash and hash.

    Entries are numbered without gaps, except before a recovery: its entry says which numbers a restore has lost, with the detail
    `{"after": last number before, "lost_to": last number lost}`.
    """
    chain = ChainCheck()
    for entry, previous, stored in rows:
        lost = _lost_before(entry, chain.last)
        if entry.id != chain.last + 1 and lost is None:
            return replace(chain, broken=Break(chain.last + 1, "gap"))
        if previous != chain.head:
            return replace(chain, broken=Break(entry.id, "previous"))
        if digest(previous, entry) != stored:
            return replace(chain, broken=Break(entry.id, "hash"))
        gaps = chain.lost if lost is None else (*chain.lost, lost)
        chain = ChainCheck(chain.count + 1, entry.id, stored, gaps)
    return chain


def _lost_before(entry: Entry, last: int) -> range | None:
    """The ids that this entry declares lost, if they are all ids between the entry before and this one."""
    if entry.action != RECOVERY or entry.detail.get("after") != last or entry.detail.get("lost_to") != entry.id - 1:
        return None
    return range(last + 1, entry.id) or None


def contradiction(chain: ChainCheck, number: int, hash_: bytes, stored: bytes | None) -> Contradiction | None:
    """What the countersigned hash of entry `number` says against the entry; None if nothing.

    `stored` is the hash in the database, None if there is no such entry. A broken chain was not read to its end, so it may declare
    the entry lost later: nothing counts as cut.
    """
    if stored is not None:
        return None if stored == hash_ else Contradiction(number, "rewritten")
    if chain.broken is not None or any(number in ids for ids in chain.lost):
        return None
    return Contradiction(number, "cut")
