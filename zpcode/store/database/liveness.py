"""Whether PostgreSQL still answers: what keeps a request from waiting for a server that is frozen or cut off.

psycopg waits without bound, and so do the kernel's own limits on a unix socket. A session that has heard nothing
for a second therefore asks whether the server answers anybody (a new connection, two seconds). If it does, the
statement is merely slow and may take what the server allows; if not, the session is given up, and whoever comes
next is refused at once until the server has answered again.
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
    """One server's pulse, shared by all threads of an engine. `probe` opens and closes a connection or raises.

    `gone` says that the server was found to answer nobody. `statement` is how long (seconds) a session may hear
    nothing although the server lives: more than the server itself allows a statement.
    """

    def __init__(self, probe: Callable[[], object], *, statement: float) -> None:
        self.gone = False
        self.statement = statement
        self._probe = probe
        self._asking = threading.Lock()
        self._asked = 0.0  # when the last probe began, monotonic

    def check(self) -> None:
        """Raise psycopg.OperationalError where the server is gone; once a second somebody asks anew instead."""
        if not self.gone:
            return
        if time.monotonic() - self._asked >= AGAIN_SECONDS and self._asking.acquire(blocking=False):
            try:
                self._ask()
            finally:
                self._asking.release()
        if self.gone:
            raise psycopg.OperationalError("the server answers nobody")

    def beats(self) -> bool:
        """Whether the server answers. Whoever asks while somebody else does takes their answer."""
        since = time.monotonic()
        while not self._asking.acquire(timeout=_TICK):  # a plain wait may be overtaken for ever by those who come later
            if self.gone:
                return False
        try:
            if not self.gone and self._asked <= since:
                self._ask()
            return not self.gone
        finally:
            self._asking.release()

    def missed(self) -> None:
        """A connection could not be made in time: as good as a probe."""
        self._asked = time.monotonic()
        self._note(gone=True)

    def _ask(self) -> None:
        self._asked = time.monotonic()
        try:
            self._probe()
        except psycopg.errors.ConnectionTimeout:
            self._note(gone=True)
        except psycopg.OperationalError:
            pass  # an answer, if not a kind one: refused, too many connections, starting up
        else:
            self._note(gone=False)

    def _note(self, *, gone: bool) -> None:
        if gone != self.gone:
            self.gone = gone
            _logger.log(
                logging.WARNING if gone else logging.INFO,
                "PostgreSQL %s",
                "answers nobody" if gone else "answers again",
            )


class LivenessSession(psycopg.Connection[Any]):
    """A connection that gives up on a server without a pulse: it is closed, and psycopg.OperationalError raised."""

    pulse: DatabaseLiveness

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's, and refused at once where the server is known to be gone."""
        cls.pulse.check()
        try:
            return super().connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            cls.pulse.missed()
            raise

    def wait(self, gen: PQGen[RV], interval: float = _TICK, timeout: float | None = None) -> RV:
        """As psycopg's, with silence bounded."""
        return super().wait(self._bounded(gen), interval, timeout)

    def _bounded(self, gen: PQGen[RV]) -> PQGen[RV]:
        """The generator of psycopg, with an eye on when the socket was last ready."""
        pulse = self.pulse
        if pulse.gone:
            self._give_up()
        try:
            awaited = next(gen)
            heard, patience = time.monotonic(), PATIENCE_SECONDS
            while True:
                ready = yield awaited
                if ready:
                    heard, patience = time.monotonic(), PATIENCE_SECONDS
                elif (silent := time.monotonic() - heard) > patience:
                    if silent > pulse.statement or not pulse.beats():
                        self._give_up()
                    patience *= 2  # alive, and busy: a lock, a long statement
                awaited = gen.send(ready)
        except StopIteration as end:
            found: RV = end.value
            return found

    def _give_up(self) -> None:
        self.close()
        raise psycopg.OperationalError("the server answers nobody; the session was given up")


def sessions(pulse: DatabaseLiveness) -> type[LivenessSession]:
    """The class of connections under this pulse, for a pool to make them of."""
    return type("Session", (LivenessSession,), {"pulse": pulse})
