"""Rate limits of the API, of this process: by the minute requests of one key and wrong keys from one address, by the day
writing requests of one enterprise. The last bounds what a key can make the service store.

Those by the minute are checked before the database is asked, so that a request beyond them costs only its refusal.
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
from zpcode.rules.access import Caller, Role

REQUESTS: Final = 1200
FAILURES: Final = 30
WRITES: Final = 50_000
DAY: Final = 86_400.0
_MAX_VALID: Final = 1000


class ApiRateLimits:
    """`requests` a minute for each key, `failures` for each address, `writes` a day for each enterprise; 0: no limit.

    `clock` is monotonic, in seconds.

    An address is a whole IPv4 address or an IPv6 /64. An address outside the public network is a proxy that does not
    pass on its clients' addresses (`--forwarded-allow-ips`): its failures are not counted, since many clients share it.
    One of the last 1000 valid keys is not refused for the failures of its address: an office shares one address.
    """

    def __init__(
        self,
        requests: int = REQUESTS,
        failures: int = FAILURES,
        clock: Callable[[], float] = time.monotonic,
        *,
        writes: int = WRITES,
    ) -> None:
        self._writes = RateLimit(writes, period=DAY)
        self._requests, self._failures, self._clock = RateLimit(requests), RateLimit(failures), clock
        self._valid: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def spend_request(self, address: str | None, token: str) -> None:
        """Take one request of a key, before the key is looked up. Raises TooMany."""
        key, client, now = _digest(token), payer(address), self._clock()
        with self._lock:
            seconds = self._requests.spend(key, now) if token else 0.0
            if not seconds and client is not None and key not in self._valid:
                seconds = self._failures.check(client, now)
        if seconds:
            raise TooMany(math.ceil(seconds))

    def spend_write(self, caller: Caller) -> None:
        """Take one request that may write, of an enterprise with all its keys. Raises TooMany.

        Offices and the operator have no such limit: what protects people never waits.
        """
        if caller.role is Role.ENTERPRISE:
            with self._lock:
                seconds = self._writes.spend(caller.subject, self._clock())
            if seconds:
                raise TooMany(math.ceil(seconds))

    def spend_failure(self, address: str | None) -> None:
        """Take one failure of an address: the key of its request is not valid."""
        client = payer(address)
        if client is not None:
            with self._lock:
                self._failures.spend(client, self._clock())

    def note_success(self, token: str) -> None:
        """Remember that a key is valid."""
        key = _digest(token)
        with self._lock:
            self._valid[key] = None
            self._valid.move_to_end(key)
            if len(self._valid) > _MAX_VALID:
                self._valid.popitem(last=False)


def _digest(token: str) -> bytes:
    """The hash of a key, which is remembered in place of the key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
