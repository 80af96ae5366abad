"""How often one API key may ask, and how often one address may come without a key that counts.

Both are budgets of this process (`zpcode.ratelimit`): a minute's worth at once, from then on at that pace. They are
looked at before the database is, so that whoever is over them costs nothing but a refusal.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

from zpcode.api.http.refusals import TooMany
from zpcode.ratelimit import RateLimit, payer

REQUESTS: Final = 1200
FAILURES: Final = 30
_RIGHT: Final = 1000


class ApiRateLimits:
    """`requests` a minute for each key, `failures` for each address; 0: no limit. `clock` is monotonic, in seconds.

    An address is a whole IPv4 address or an IPv6 /64. One that is none of the public network is a proxy that was
    not told to say who stands behind it (`--forwarded-allow-ips`): its failures are everybody's, and not counted.
    A key that was right lately is let through to the database whatever its address did: an office shares one.
    """

    def __init__(
        self, requests: int = REQUESTS, failures: int = FAILURES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._requests, self._failures, self._clock = RateLimit(requests), RateLimit(failures), clock
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def spend_request(self, address: str | None, token: str) -> None:
        """One request, before its key is looked up. Raises TooMany."""
        key, whose, now = _digest(token), payer(address), self._clock()
        with self._lock:
            seconds = self._requests.spend(key, now) if token else 0.0
            if not seconds and whose is not None and key not in self._right:
                seconds = self._failures.check(whose, now)
        if seconds:
            raise TooMany(math.ceil(seconds))

    def spend_failure(self, address: str | None) -> None:
        """The key of a request that was admitted turned out not to count."""
        whose = payer(address)
        if whose is not None:
            with self._lock:
                self._failures.spend(whose, self._clock())

    def note_success(self, token: str) -> None:
        """The key of a request that was admitted turned out to be right."""
        key = _digest(token)
        with self._lock:
            self._right[key] = None
            self._right.move_to_end(key)
            if len(self._right) > _RIGHT:
                self._right.popitem(last=False)


def _digest(token: str) -> bytes:
    """What stands for a key in memory, which is no place for the key itself."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
