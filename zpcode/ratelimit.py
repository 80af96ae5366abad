"""Rate limits by key: so many requests a minute or an hour. Used by the API, the portal and the scan service.

The algorithm is GCRA (ITU-T I.371, annex A). A key may spend a whole period's worth at once (the burst); after that one
request is allowed every emission interval. The limit stores one number for each key: its theoretical arrival time (TAT),
when the key will have paid for everything it spent.

Memory is bounded. With each new key, up to 64 stored keys are examined in turn (a CLOCK, Corbató 1968) and those that
have paid are dropped: no request waits while thousands of keys are dropped at once.

Two verbs, everywhere: `check()` takes nothing, `spend()` takes one request.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

MINUTE: Final = 60.0
MAX_KEYS: Final = 50_000
"""Keys stored by default: about 8 MB."""
EXAMINED: Final = 64
"""Stored keys that are examined with each new key, at most."""
_SLACK: Final = 1e-6  # seconds: more than rounding loses when a minute's intervals are added up


class RateLimit:
    """At most `requests` in a `period` (seconds) for each key; 0 requests means no limit.

    `max_keys` bounds the memory. `now` is in seconds and never goes back (a monotonic clock).
    """

    __slots__ = ("_arrivals", "_burst", "_half", "_interval", "_max_keys")

    def __init__(self, requests: int, max_keys: int = MAX_KEYS, period: float = MINUTE) -> None:
        self._interval = period / requests if requests else 0.0
        self._burst = period - self._interval + _SLACK
        self._half = period / 2
        self._max_keys = max_keys
        self._arrivals: OrderedDict[str | bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._arrivals)

    def spend(self, key: str | bytes, now: float) -> float:
        """Take one request of `key`: 0.0 if it is allowed, else the seconds until one is, and nothing is taken."""
        arrival = self._arrivals.get(key, 0.0)
        if arrival > now:
            if arrival - now > self._burst:
                return arrival - now - self._burst
            self._arrivals[key] = arrival + self._interval
            return 0.0
        if self._interval:
            if not arrival:
                self._forget(now)
            self._arrivals[key] = now + self._interval
        return 0.0

    def check(self, key: str | bytes, now: float) -> float:
        """The seconds until a request of `key` would be allowed, 0.0 for now. Takes nothing."""
        return max(0.0, self._arrivals.get(key, 0.0) - now - self._burst)

    def _forget(self, now: float) -> None:
        """Drop the next keys that have paid. Without room for a new key: the next that spent less than half, else the next."""
        keys, least = self._arrivals, now + self._half
        for _ in range(min(EXAMINED, len(keys))):
            key, due = keys.popitem(last=False)
            if due <= now:
                continue
            if len(keys) + 1 < self._max_keys:
                keys[key] = due
                return
            if due <= least:
                return
            keys[key] = due
        if len(keys) >= self._max_keys:
            keys.popitem(last=False)


def payer(address: str | None) -> bytes | None:
    """The key that an address pays with: a whole IPv4 address (4 bytes) or the /64 of an IPv6 address (8 bytes).

    None for a text that is no address, and for an address outside the public network: that is a proxy which does not
    pass on its clients' addresses, and many clients stand behind it.
    """
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if not found.is_global:
        return None
    return found.packed if found.version == 4 else found.packed[:8]
