"""Rate limits of the API, of this process: by the minute requests of one key, wrong keys from one address and what
it reads without a key, by the day writing requests of one enterprise. The last bounds what a key can make the service store.

The limit of a key is checked before the database is asked. The limit of an address never refuses a valid key: many offices
share one address behind a carrier's NAT, and anybody behind it can guess. So beyond this limit a key is still looked up,
and only then refused; what is no key at all is refused at once. Guessing is hopeless (a secret has 256 bits), and a
look-up is one query by primary key. It costs less than the request that causes it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from zpcode.api.http.refusals import TooMany
from zpcode.ratelimit import READS, RateLimit, ReadRateLimit, payer
from zpcode.rules.access import Caller, Role

REQUESTS: Final = 1200
FAILURES: Final = 30
WRITES: Final = 50_000
DAY: Final = 86_400.0


class ApiRateLimits:
    """`requests` a minute for each key, `failures` and `reads` for each address, `writes` a day for each enterprise; 0: no limit.

    `clock` is monotonic, in seconds.

    An address is a whole IPv4 address or an IPv6 /64. An address outside the public network is a proxy that does not
    pass on its clients' addresses (`--forwarded-allow-ips`): its failures are not counted, since many clients share it.
    """

    def __init__(
        self,
        requests: int = REQUESTS,
        failures: int = FAILURES,
        clock: Callable[[], float] = time.monotonic,
        *,
        writes: int = WRITES,
        reads: int = READS,
    ) -> None:
        self._writes = RateLimit(writes, period=DAY)
        self._requests, self._failures, self._clock = RateLimit(requests), RateLimit(failures), clock
        self._reads = ReadRateLimit(reads)
        self._lock = Lock()

    def spend_request(self, token: str) -> None:
        """Take one request of a key, before the key is looked up. Raises TooMany."""
        if token:
            key, now = _digest(token), self._clock()
            with self._lock:
                _refuse(self._requests.spend(key, now))

    def check_failures(self, address: str | None) -> None:
        """Raise TooMany if an address is over its limit of failures. Takes nothing. Not for a request with a possible key."""
        client = payer(address)
        if client is not None:
            with self._lock:
                _refuse(self._failures.check(client, self._clock()))

    def spend_read(self, address: str | None) -> None:
        """Take one request of an address that reads without a key. Raises TooMany."""
        with self._lock:
            _refuse(self._reads.spend(address, self._clock()))

    def spend_write(self, caller: Caller) -> None:
        """Take one request that may write, of an enterprise with all its keys. Raises TooMany.

        Offices and the operator have no such limit: what protects people never waits.
        """
        if caller.role is Role.ENTERPRISE:
            with self._lock:
                _refuse(self._writes.spend(caller.subject, self._clock()))

    def spend_failure(self, address: str | None) -> None:
        """Take one failure of an address: the key of its request is not valid. Raises TooMany beyond the limit."""
        client = payer(address)
        if client is not None:
            with self._lock:
                _refuse(self._failures.spend(client, self._clock()))


def _refuse(seconds: float) -> None:
    """Raise TooMany if a limit says to wait."""
    if seconds:
        raise TooMany(math.ceil(seconds))


def _digest(token: str) -> bytes:
    """The hash of a key, which is remembered in place of the key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
