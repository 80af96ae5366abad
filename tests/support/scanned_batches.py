"""Batches whose items may be scanned, for tests that need no codes of them."""

from __future__ import annotations

from collections.abc import Collection

from zpcode.rules.continuity import Marks
from zpcode.store import recovery
from zpcode.store.database.session import Engine, transaction


def may_be_scanned(engine: Engine, numbers: Collection[int]) -> None:
    """Let scans of these batches count. Their records are lost, so each slot may be an item."""
    with transaction(engine) as connection:
        recovery.move_sequences(connection, Marks(batch=max(numbers, default=0)))
        recovery.add_lost(connection, numbers, 1, {})
