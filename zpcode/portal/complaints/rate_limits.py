"""How often one address may complain, how often one code may be complained about, and how many forms are read at once.

Budgets of this process (`zpcode.ratelimit`), by the hour. The strict ones are charged for a form that reads right and
that both of them let through, just before it is recorded: one sent twice counts twice, one with a fault in it not at
all. A wider one bounds attempts, wrong follow keys among them. What one code may draw depends on what it stands for: an item
is one thing in one hand, while a product code stands on every piece, and who wants complaints about it silenced
must not be able to use them up.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from zpcode.ratelimit import RateLimit, payer

HOUR: Final = 3600.0
AN_ADDRESS: Final = 10
A_CODE: Final = 30
ATTEMPTS: Final = 6
"""Attempts for each complaint an address may make."""
SHARED: Final = 20
"""How many times as many a code may draw that stands on many pieces."""
OPEN_FORMS: Final = 8
OPEN_EACH: Final = 4
"""Of these, what one address may hold: nobody who sends slowly keeps everybody else out."""
_KEPT: Final = 20_000


class Busy(Exception):
    """As many forms are being read as may be: in a moment there is room."""


class FormRateLimits:
    """`address` complaints an hour for each address (an IPv6 /64), `code` for each item code; 0: no limit.

    Loopback and private addresses are proxies that do not say who stands behind them, and are never refused.
    `clock` is monotonic, in seconds.
    """

    def __init__(
        self, address: int = AN_ADDRESS, code: int = A_CODE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._address = RateLimit(address, _KEPT, HOUR)
        self._attempts = RateLimit(address * ATTEMPTS, _KEPT, HOUR)
        self._item = RateLimit(code, _KEPT, HOUR)
        self._shared = RateLimit(code * SHARED, _KEPT, HOUR)
        self._lock = Lock()
        self._open: Counter[bytes | None] = Counter()

    def spend_attempt(self, address: str | None) -> int:
        """One attempt: 0 where it may be made, otherwise the whole seconds until it may."""
        whose = payer(address)
        if whose is None:
            return 0
        with self._lock:
            return math.ceil(self._attempts.spend(whose, self._clock()))

    def spend_complaint(self, address: str | None, code: str, *, item: bool) -> int:
        """One complaint about a code (empty: about none): 0 where it may be made, otherwise the whole seconds until then."""
        whose, now = payer(address), self._clock()
        of_code = self._item if item else self._shared
        with self._lock:
            seconds = 0.0 if whose is None else self._address.check(whose, now)
            if code:
                seconds = max(seconds, of_code.check(code, now))
            if seconds:
                return math.ceil(seconds)
            if whose is not None:
                self._address.spend(whose, now)
            if code:
                of_code.spend(code, now)
        return 0

    @contextmanager
    def form(self, address: str | None = None) -> Iterator[None]:
        """Hold one of the eight places for reading a form. Raises Busy."""
        whose = payer(address)
        with self._lock:
            if self._open.total() >= OPEN_FORMS or (whose is not None and self._open[whose] >= OPEN_EACH):
                raise Busy
            self._open[whose] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[whose] -= 1
                if not self._open[whose]:
                    del self._open[whose]
