"""The audit log for readers: whether the chain is whole, and the entries about one object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from zpcode.rules.audit import Break, Entry, first_break
from zpcode.rules.paging import page_size
from zpcode.store import audit
from zpcode.store.database.session import Engine, transaction

MAX_SHOWN: Final = 1000


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a check: the number of entries before the first break, and the hash `head` (32 bytes) of the last one.

    `broken` is the first break. `cut` is True if an expected count or hash is missing: entries were removed from the
    end, or the whole chain was written again.
    """

    count: int
    head: bytes
    broken: Break | None
    cut: bool

    @property
    def whole(self) -> bool:
        """Whether the chain has no break and is not cut."""
        return self.broken is None and not self.cut


def verify(engine: Engine, *, expect_head: bytes | None = None, expect_count: int = 0) -> Verification:
    """Check the whole chain in constant memory. The chain may have grown since the expected values were noted.

    With both given, entry number `expect_count` must have the hash `expect_head`. With one alone, that hash must occur,
    or there must be that many entries. Without them, a removal at the end of the chain is not noticed.
    """
    marks: set[tuple[int, bytes]] = set()
    with transaction(engine) as connection, closing(audit.entries(connection)) as entries:
        count, head, broken = first_break(_noting(entries, expect_head, marks))
    missing = expect_head is not None and not any(not expect_count or at == expect_count for at, _ in marks)
    return Verification(count, head, broken, cut=missing or count < expect_count)


def _noting(
    rows: Iterable[tuple[Entry, bytes, bytes]], wanted: bytes | None, marks: set[tuple[int, bytes]]
) -> Iterator[tuple[Entry, bytes, bytes]]:
    for row in rows:
        if row[2] == wanted:
            marks.add((row[0].id, row[2]))
        yield row


def show(engine: Engine, object_: str = "", limit: int = 20) -> list[Entry]:
    """Up to `limit` (1 … 1000) entries, newest first; only those about one object (`code:7:12`, `batch:7`) if it is given."""
    with transaction(engine) as connection:
        return audit.about(connection, object_, page_size(limit, MAX_SHOWN))
