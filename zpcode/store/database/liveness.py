"""Whether PostgreSQL still answers: what keeps a request from waiting for a server that is frozen or cut off.

psycopg waits without a time limit; so does the kernel on a unix socket. A session that has received nothing for one
second therefore probes the server: it opens a new connection, with a limit of two seconds. If the probe succeeds, the
statement is merely slow and may take as long as the server allows. If the probe fails, the session is closed, and
further sessions are refused at once until a probe succeeds again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Self

import psycopg
from psycopg.abc import RV, PQGen

PATIENCE_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 2
AGAIN_SECONDS: Final = 1.0
_TICK: Final = 0.1
_logger = logging.getLogger(__name__)


class DatabaseLiveness:
    """Whether one server is alive; shared by all threads of an engine. `probe` opens and closes a connection or raises.

    `gone` is True after a failed probe. `statement` is how long (seconds) a session may receive nothing from a live
    server; it is longer than the server's own limit for a statement.
    """

    def __init__(self, probe: Callable[[], object], *, statement: float) -> None:
        self.gone = False
        self.statement = statement
        self._probe = probe
        self._asking = threading.Lock()
        self._asked = 0.0  # when the last probe began, monotonic

    def check(self) -> None:
        """Raise psycopg.OperationalError if the server is gone. Once a second, one caller probes the server first."""
        if not self.gone:
            return
        if time.monotonic() - self._asked >= AGAIN_SECONDS and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
        if self.gone:
            raise psycopg.OperationalError("the server does not respond")

    def is_alive(self) -> bool:
        """Probe the server and return whether it is alive. A caller that waits for another thread's probe uses its result."""
        since = time.monotonic()
        while not self._asking.acquire(
            timeout=_TICK
        ):  # a wait without a timeout could be overtaken for ever by later threads
            if self.gone:
                return False
        try:
            if not self.gone and self._asked <= since:
                self._ask()
            return not self.gone
        finally:
            self._asking.release()

    def missed(self) -> None:
        """Record that a connection timed out; this counts as a failed probe."""
        self._asked = time.monotonic()
        self._set(gone=True)

    def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            self._probe()
        except psycopg.errors.ConnectionTimeout:
            self._set(gone=True)
        except psycopg.OperationalError:
            pass  # the server is alive: it refuses, is starting up, or has too many connections
        else:
            self._set(gone=False)

    def _set(self, *, gone: bool) -> None:
        if gone != self.gone:
            self.gone = gone
            _logger.log(
                logging.WARNING if gone else logging.INFO,
                "PostgreSQL %s",
                "does not respond" if gone else "responds again",
            )


class LivenessSession(psycopg.Connection[Any]):
    """A connection that does not wait for a dead server: it closes itself and raises psycopg.OperationalError."""

    liveness: DatabaseLiveness

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Connect as psycopg does; raise at once while the server is gone."""
        cls.liveness.check()
        try:
            return super().connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            cls.liveness.missed()
            raise

    def wait(self, gen: PQGen[RV], interval: float = _TICK, timeout: float | None = None) -> RV:
        """Wait as psycopg does, but not without limit for a silent server."""
        return super().wait(self._bounded(gen), interval, timeout)

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        """Psycopg's generator, which also measures how long the socket has not been ready."""
        liveness = self.liveness
        if liveness.gone:
            self._give_up()
        try:
            awaited = next(gen)
            heard_at, patience = time.monotonic(), PATIENCE_SECONDS
            while True:
                ready = yield awaited
                if ready:
                    heard_at, patience = time.monotonic(), PATIENCE_SECONDS
                elif (silent := time.monotonic() - heard_at) > patience:
                    if silent > liveness.statement or not liveness.is_alive():
                        self._give_up()
                    patience *= 2  # alive, and busy: a lock, a long statement
                awaited = gen.send(ready)
        except StopIteration as end:
            result: RV = end.value
            return result

    def _give_up(self) -> None:
        self.close()
        raise psycopg.OperationalError("the server does not respond; the connection was closed")


def sessions(liveness: DatabaseLiveness) -> type[LivenessSession]:
    """The connection class for a pool whose connections share this liveness."""
    return type("Session", (LivenessSession,), {"liveness": liveness})
