"""One address in a hurry: how many scans, and how many guesses, one address may make before it has to wait.

An address is a whole IPv4 address or the /64 of an IPv6 one. It stays in this process's memory for as long as it is
in debt (`zpcode.ratelimit`), two minutes at most, and goes nowhere else. Every process counts for itself.

Two budgets, because consumers share addresses (carriers' NAT, an office, a shop) and guessers do not mind:

- scans: everything a phone may ask for; generous.
- guesses: charged when an answer says nothing, or says it without a proof: forged, unknown, malformed, unsealed,
  typed. Strict. An address without any left still gets the answer to every sealed code. An IPv6 /48, which one
  customer of a hoster has whole, gets ten times the budget of a /64 in it.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from zpcode.ratelimit import RateLimit

_LOG = logging.getLogger(__name__)
SITE_SHARE: Final = 10
_INNER: Final = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "fc00::/7",
         "fe80::/10"),
    )
)  # fmt: skip
"""Loopback, private, link-local, shared (RFC 6890): a proxy, a balancer or the machine itself. All within two bytes."""
_LOOPBACK: Final = bytes(15) + b"\1"


class ScanRateLimits:
    """The budgets of one scan process. An address is 4 or 16 bytes, or none where it is not known; `now` is monotonic."""

    __slots__ = ("_guesses", "_scans", "_sites", "_warned")

    def __init__(self, scans: int, guesses: int) -> None:
        self._scans = RateLimit(scans)
        self._guesses = RateLimit(guesses)
        self._sites = RateLimit(guesses * SITE_SHARE)
        self._warned = False

    def wait(self, address: bytes, now: float) -> int:
        """One scan. 0: go on; otherwise the whole seconds to wait (at least 1), for Retry-After."""
        seconds = self._scans.spend(address if len(address) == 4 else address[:8], now)
        return self._told(address, seconds) if seconds else 0

    def guessed(self, address: bytes, now: float) -> int:
        """One guess, found to be one. 0: it may be answered; otherwise the seconds to wait, and nothing is to be told."""
        seconds = self._guesses.spend(address[:8], now)
        if not seconds and len(address) == 16:
            seconds = self._sites.spend(address[:6], now)
        return self._told(address, seconds) if seconds else 0

    def guessing(self, address: bytes, now: float) -> int:
        """Whether a guess would have to wait, and how long; charges nothing. For whoever can tell one beforehand."""
        seconds = self._guesses.wait(address[:8], now)
        if not seconds and len(address) == 16:
            seconds = self._sites.wait(address[:6], now)
        return self._told(address, seconds) if seconds else 0

    def _told(self, address: bytes, seconds: float) -> int:
        """Whole seconds. Nobody waits for what an address of our own did: it stands for many, whom nobody told apart."""
        if not is_inner(address):
            return math.ceil(seconds)
        if not self._warned:
            self._warned = True
            _LOG.warning("a private address is over the limit and is let through: are ZPCODE_TRUSTED_PROXIES set?")
        return 0


def is_inner(address: bytes) -> bool:
    """Whether an address is none of the public network: then it is no consumer's, and many may stand behind it."""
    return not address or address == _LOOPBACK or _begins_inner(address[:2], len(address))


@lru_cache(maxsize=1024)
def _begins_inner(first: bytes, length: int) -> bool:
    """By the first two bytes alone, which decide it: whole addresses are remembered nowhere but in the budgets."""
    found = ip_address(first.ljust(length, b"\0"))
    return any(found in network for network in _INNER if network.version == found.version)
