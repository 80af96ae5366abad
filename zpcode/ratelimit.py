"""Rate limits by key: so many requests a minute or an hour. API, portal and scan service use them.

The algorithm is GCRA (ITU-T I.371, annex A). A key may spend all requests of a period at once (the burst); after that, one
request is allowed every emission interval. The limit stores one number for each key: its theoretical arrival time (TAT),
the time at which everything that the key spent is paid for.

Memory is bounded. With each new key, up to 64 stored keys are examined in turn (a CLOCK, Corbató 1968), and those that
have paid are dropped. So no request waits while thousands of keys are dropped.

Three verbs, everywhere: `check()` takes nothing, `spend()` takes one request if it is allowed, and `charge()` takes what was
used already, also beyond the limit; a negative charge gives it back.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

MINUTE: Final = 60.0
MAX_KEYS: Final = 50_000
"""Keys stored by default: about 8 MB."""
READS: Final = 1200
"""Requests a minute of one address that reads without a key: 20 a second, each a few milliseconds of the database."""
NETWORK_READS: Final = 8
"""How many times as much the network of an address has."""
EXAMINED: Final = 64
"""Stored keys that are examined with each new key, at most."""
_SLACK: Final = 1e-6  # seconds: more than the rounding error of all intervals of a period added up
_INNER: Final = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7",
         "fe80::/10"),
    )
)  # fmt: skip
"""Loopback, private, link-local, shared (RFC 6890): a proxy, a balancer or the machine itself. All within two bytes."""
_LOOPBACK: Final = bytes(15) + b"\1"


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
        """Take one request of `key`: 0.0 if it is allowed. Else nothing is taken: the seconds until one is allowed."""
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

    def charge(self, key: str | bytes, now: float, requests: int = 1) -> None:
        """Take this many requests of `key`, whether they are allowed or not; fewer than 0 are given back."""
        if not self._interval:
            return
        arrival = self._arrivals.get(key, 0.0)
        if not arrival:
            self._forget(now)
        self._arrivals[key] = max(now, arrival) + self._interval * requests

    def check(self, key: str | bytes, now: float) -> float:
        """The seconds until a request of `key` would be allowed, 0.0 for now. Takes nothing."""
        return max(0.0, self._arrivals.get(key, 0.0) - now - self._burst)

    def _forget(self, now: float) -> None:
        """Drop the next stored keys that have paid.

        If there is still no room for a new key, the next key that spent less than half of its burst is dropped; if none of
        the examined keys did, simply the next one.
        """
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


class ReadRateLimit:
    """At most `requests` in a minute for each address that reads without a key, and eight times as many for its network.

    A carrier has thousands of customers at one IPv4 address, so the limit is far above what a person reads; 0: no limit.
    Inner addresses are never limited.
    """

    def __init__(self, requests: int = READS) -> None:
        self._addresses, self._networks = RateLimit(requests), RateLimit(requests * NETWORK_READS)

    def spend(self, address: str | None, now: float) -> int:
        """Take one request of an address: 0 if it is allowed. Else nothing is taken: the whole seconds until one is."""
        key, wider = payer(address), network(address)
        if key is None or wider is None:
            return 0
        seconds = self._networks.check(wider, now) or self._addresses.spend(key, now)
        if not seconds:
            self._networks.charge(wider, now)
        return math.ceil(seconds)


def payer(address: str | None) -> bytes | None:
    """The key of an address: a whole IPv4 address (4 bytes) or the /64 of an IPv6 address (8 bytes).

    None for a text that is no address, and for an inner address (`is_inner`).
    """
    packed = _packed(address)
    return packed if packed is None or len(packed) == 4 else packed[:8]


def network(address: str | None) -> bytes | None:
    """The key of an address's network: the /24 of an IPv4 address (3 bytes) or the /48 of an IPv6 address (6 bytes).

    Whoever has one address of it may have all: a provider gives a customer up to a /48. None as for `payer`.
    """
    packed = _packed(address)
    return packed if packed is None else packed[: 3 if len(packed) == 4 else 6]


def block(address: str | None) -> bytes | None:
    """The key of an address's block: the /16 of an IPv4 address (2 bytes) or the /32 of an IPv6 address (4 bytes).

    It is what a provider has, or a part of it. So its owner has every network in it, and a carrier has a city's customers
    in it. None as for `payer`.
    """
    packed = _packed(address)
    return packed if packed is None else packed[: 2 if len(packed) == 4 else 4]


def _packed(address: str | None) -> bytes | None:
    """The bytes of an address, 4 or 16; None for a text that is no address, and for an inner address."""
    try:
        ip = ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return None if is_inner(ip.packed) else ip.packed


def is_inner(address: bytes) -> bool:
    """Whether an address (4 or 16 bytes, empty if unknown) is a proxy or a balancer: many clients share it.

    It does not pass on its clients' addresses, so that they cannot be told apart and are not limited by address.
    """
    if len(address) == 4:
        return address[:2] in _INNER_4
    return not address or address == _LOOPBACK or address[:2] in _INNER_6


def _beginnings(length: int) -> frozenset[bytes]:
    """The first two bytes of all inner addresses of this length (4 or 16): they alone decide it."""
    networks = [network for network in _INNER if network.max_prefixlen == 8 * length]
    firsts = [int.from_bytes(network.network_address.packed[:2], "big") for network in networks]
    counts = [1 << max(0, 16 - network.prefixlen) for network in networks]
    numbers = (number for first, count in zip(firsts, counts, strict=True) for number in range(first, first + count))
    return frozenset(number.to_bytes(2, "big") for number in numbers)


_INNER_4: Final = _beginnings(4)
_INNER_6: Final = _beginnings(16)
