"""Rate limits of complaints, by the hour and of this process: for each address, and for each code.

A complaint is charged just before it is recorded, and only if both its address and its code may spend: a form with a
mistake costs no complaint. Attempts (every form that is sent, every wrong follow key) have a wider limit for each address.

An item code is printed on one item, so few complaints about it are expected. A product or lot code is printed on many:
twenty times as many are allowed, so that nobody can use up the complaints about a product.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from zpcode.ratelimit import RateLimit, payer

HOUR: Final = 3600.0
BY_ADDRESS: Final = 10
BY_CODE: Final = 30
ATTEMPTS: Final = 6
"""Attempts for each complaint that an address may make."""
SHARED: Final = 20
"""How many times the limit of an item code a product or lot code has."""
_MAX_KEYS: Final = 20_000


class ComplaintRateLimits:
    """`address` complaints an hour for each address (an IPv6 /64), `code` for each item code; 0: no limit.

    Loopback and private addresses are never refused: they are proxies that do not pass on their clients' addresses.
    `clock` is monotonic, in seconds.
    """

    def __init__(
        self, address: int = BY_ADDRESS, code: int = BY_CODE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._address = RateLimit(address, _MAX_KEYS, HOUR)
        self._attempts = RateLimit(address * ATTEMPTS, _MAX_KEYS, HOUR)
        self._item = RateLimit(code, _MAX_KEYS, HOUR)
        self._shared = RateLimit(code * SHARED, _MAX_KEYS, HOUR)
        self._lock = Lock()

    def spend_attempt(self, address: str | None) -> int:
        """Take one attempt: 0 if it is allowed, else the whole seconds until one is."""
        key = payer(address)
        if key is None:
            return 0
        with self._lock:
            return math.ceil(self._attempts.spend(key, self._clock()))

    def spend_complaint(self, address: str | None, code: str, *, item: bool) -> int:
        """Take one complaint about a code (empty: about none): 0 if it is allowed, else the whole seconds until it is.

        Where it is not allowed, nothing is taken.
        """
        key, now = payer(address), self._clock()
        by_code = self._item if item else self._shared
        with self._lock:
            seconds = 0.0 if key is None else self._address.check(key, now)
            if code:
                seconds = max(seconds, by_code.check(code, now))
            if seconds:
                return math.ceil(seconds)
            if key is not None:
                self._address.spend(key, now)
            if code:
                by_code.spend(code, now)
        return 0
