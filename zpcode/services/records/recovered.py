"""What a recovery leaves for later, in the audit log: kept cards, lost batches, and what waits for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from zpcode.rules.access import Caller
from zpcode.services.records import kinds
from zpcode.store import record_log
from zpcode.store.database.session import Connection
from zpcode.store.record_log import NewEntry

ACTION: Final = "database.record"


@contextmanager
def logged_changes(connection: Connection, caller: Caller, now: datetime, object_: str) -> Iterator[None]:
    """Enter the digests of what this block adds, changes or removes, about an object of the log.

    The caller has the lock of the audit log, so nobody else changes these records meanwhile.
    """
    former = kinds.of_recovery(connection)
    yield
    present = kinds.of_recovery(connection)
    names = sorted(former.keys() | present.keys())
    changed = {name: present.get(name) for name in names if former.get(name) != present.get(name)}
    if changed:
        record_log.append(connection, changed, NewEntry(now, caller.name, ACTION, object_))
