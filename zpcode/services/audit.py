"""The audit log for readers: whether the chain is whole, and the entries about one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from zpcode.rules import access_log
from zpcode.rules.access_log import KeyMismatch
from zpcode.rules.audit import ChainCheck, Entry, check_chain
from zpcode.rules.paging import page_size
from zpcode.rules.record_digest import RECORDS
from zpcode.rules.registry import digests
from zpcode.services.head_comparison import CountersignedHeads, HeadReport
from zpcode.store import access, audit, record_log
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring import integrity

MAX_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a check of the audit log.

    `chain` is the hash chain up to its first break. `cut` is True if an expected count or hash is missing: entries were removed
    from the end, or the whole chain was written again. `heads` is what the countersigned heads say. `keys` has the API keys that
    differ from the log. `newest_at` is the newest entry's time.
    """

    chain: ChainCheck
    cut: bool = False
    heads: HeadReport = field(default_factory=HeadReport)
    keys: tuple[KeyMismatch, ...] = ()
    newest_at: datetime | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing speaks against the log."""
        chain_holds = self.chain.broken is None and not self.cut
        return chain_holds and not (self.heads.contradicted or self.heads.log_fault or self.keys)


def verify(
    engine: Engine,
    *,
    heads: CountersignedHeads | None = None,
    expect_head: bytes | None = None,
    expect_count: int = 0,
) -> Verification:
    """Check the whole log in constant memory: its chain, against the countersigned heads, and the API keys against the log.

    The heads are those of before: the log may have grown since. With an expected head and count, entry number `expect_count` must have the
    hash `expect_head`. With one alone, that hash must occur, or there must be that many entries. Without heads and without expected
    values, a removal at the end of the chain is not noticed.
    """
    reading = _Reading(expect_head)
    with integrity.snapshot(engine) as connection:
        with closing(audit.entries(connection)) as entries:
            chain = check_chain(reading.noting(entries))
        report = HeadReport() if heads is None else heads.compare(chain, partial(audit.hashes_of, connection))
        keys = access_log.mismatches(access.every(connection), audit.of_actions(connection, access_log.ACTIONS))
    missing = expect_head is not None and not any(not expect_count or at == expect_count for at in reading.marks)
    return Verification(
        chain,
        cut=missing or chain.last < expect_count,
        heads=report,
        keys=tuple(keys),
        newest_at=reading.at,
    )


@dataclass(slots=True)
class _Reading:
    """What is noted while the entries pass: the ids with the expected hash, and the newest entry's time."""

    expected: bytes | None
    marks: set[int] = field(default_factory=set)
    at: datetime | None = None

    def noting(self, rows: Iterable[tuple[Entry, bytes, bytes]]) -> Iterator[tuple[Entry, bytes, bytes]]:
        for row in rows:
            entry, _, hash_ = row
            self.at = entry.at
            if hash_ == self.expected:
                self.marks.add(entry.id)
            yield row


def show(engine: Engine, object_: str = "", limit: int = 20) -> list[Entry]:
    """Up to `limit` (1 … 1000) entries, newest first; only those about one object (`code:7:12`, `batch:7`) if it is given."""
    with transaction(engine) as connection:
        return audit.about(connection, object_, page_size(limit, MAX_SHOWN))


def show_record(engine: Engine, name: str, limit: int = 20) -> list[Entry]:
    """Up to `limit` (1 … 1000) entries with the digest of a record (`certificate:ZM-1`), newest first.

    Of an import, the details have this digest and the changes of this record only.
    """
    with transaction(engine) as connection:
        entries = record_log.entries(connection, name, page_size(limit, MAX_SHOWN))
    return [replace(entry, detail=_about(name, entry.detail)) for entry in entries]


def _about(name: str, detail: dict[str, Any]) -> dict[str, Any]:
    changes = [
        one for one in detail.get("changes", ()) if digests.name(one["entity"], one["key"].partition("#")[0]) == name
    ]
    narrowed = {RECORDS: {name: detail[RECORDS][name]}} | ({"changes": changes} if "changes" in detail else {})
    return detail | narrowed
