"""Which of the workers on one database this one is: a small number, its own for as long as it lives.

A worker drains scans under the name of its seat. What one that was killed had taken is found at once by whoever
takes its seat next, and two that live never take each other's.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from zpcode.errors import Text, Unavailable
from zpcode.store import locks
from zpcode.store.locks import Lock

_SEATS = 256
_FULL = Text("同时运行的后台进程过多", "too many workers run at once")
_AWAY = Text("数据库暂时无法访问，请稍后再试", "the database cannot be reached just now; try again shortly")


class WorkerSlot:
    """The lowest number (0 … 255) that no other living worker holds. For one thread only.

    The lock is that of a connection of its own: it ends with the process, however that ends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._number = 0

    def number(self) -> int:
        """This worker's number: another one only where the database has lost the lock. Raises Unavailable."""
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return self._number
            return self._take()
        except DBAPIError as error:
            self.leave()
            raise Unavailable(_AWAY) from error

    def leave(self) -> None:
        """Give the seat up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):
                connection.close()

    def _take(self) -> int:
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except OperationalError as error:
            raise Unavailable(_AWAY) from error
        connection.detach()  # closed at the end, not handed to anyone else
        self._connection = connection
        for seat in range(_SEATS):
            if locks.try_session(connection, Lock.WORKER_SLOT, seat):
                self._number = seat
                return seat
        self.leave()
        raise Unavailable(_FULL)
