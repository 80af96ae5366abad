"""The slot of a worker: a small number that no other running worker on the same database has.

A worker drains scans under the name of its slot. If the worker is killed, the next worker with this slot finishes its
entries at once. Two running workers have different slots, so neither takes entries of the other.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from zpcode.errors import Text, Unavailable
from zpcode.store import locks
from zpcode.store.locks import Lock

_SLOTS = 256
_FULL = Text("同时运行的后台进程过多", "too many workers run at once")
_AWAY = Text("数据库暂时无法访问，请稍后再试", "the database cannot be reached just now; try again shortly")


class WorkerSlot:
    """The lowest free number (0 … 255). For use by one thread.

    The number is reserved by a session lock of a separate connection, so it is free again as soon as the process ends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._number = 0

    def number(self) -> int:
        """This worker's number. It changes only if the database has lost the lock. Raises Unavailable."""
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return self._number
            return self._take()
        except DBAPIError as error:
            self.leave()
            raise Unavailable(_AWAY) from error

    def leave(self) -> None:
        """Free the slot."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.close()

    def _take(self) -> int:
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except OperationalError as error:
            raise Unavailable(_AWAY) from error
        connection.detach()  # so that it is closed at the end and not returned to the pool
        self._connection = connection
        for slot in range(_SLOTS):
            if locks.try_session(connection, Lock.WORKER_SLOT, slot):
                self._number = slot
                return slot
        self.leave()
        raise Unavailable(_FULL)
