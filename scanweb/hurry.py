"""One address in a hurry: how many scans, and how many guesses, one address may make before it has to wait.

An address is a whole IPv4 address or the /64 of an IPv6 one. It stays in this process's memory for as long as it is
in debt (`zpcode.wire.budget`), two minutes at most, and goes nowhere else. Every process counts for itself.

Two budgets, because consumers share addresses (carriers' NAT, an office, a shop) and guessers do not mind:

- scans: everything a phone may ask for; generous.
- guesses: charged when an answer says nothing, or says it without a proof: forged, unknown, malformed, unsealed,
  typed. Strict. An address without any left still gets the answer to every sealed code. An IPv6 /48, which one
  customer of a hoster has whole, gets ten times the budget of a /64 in it.
"""

from __future__ import annotations

import logging
import math
import socket
from typing import Final

from zpcode.wire.budget import Budget

_LOG = logging.getLogger(__name__)
SITE_SHARE: Final = 10
_MAPPED: Final = bytes(10) + b"\xff\xff"
# Who stands here is a proxy, a balancer or the machine itself: loopback, private, link-local, 100.64.0.0/10 (RFC 6890).
_INNER: Final = (
    "127.", "10.", "192.168.", "169.254.", *(f"172.{n}." for n in range(16, 32)), *(f"100.{n}." for n in range(64, 128)),
)  # fmt: skip
_INNER_6: Final = ("fc", "fd", "fe8", "fe9", "fea", "feb")


class Hurry:
    """The budgets of one scan process. Addresses are whole, as texts; `now` is monotonic seconds."""

    __slots__ = ("_guesses", "_scans", "_sites", "_warned")

    def __init__(self, scans: int, guesses: int) -> None:
        self._scans = Budget(scans)
        self._guesses = Budget(guesses)
        self._sites = Budget(guesses * SITE_SHARE)
        self._warned = False

    def wait(self, address: str, now: float) -> int:
        """One scan. 0: go on; otherwise the whole seconds to wait (at least 1), for Retry-After."""
        seconds = self._scans.spend(_key(address) if ":" in address else address, now)
        return self._told(address, seconds) if seconds else 0

    def guessed(self, address: str, now: float) -> int:
        """One guess, found to be one. 0: it may be answered; otherwise the seconds to wait, and nothing is to be told."""
        key = _key(address)
        seconds = self._guesses.spend(key, now)
        if not seconds and isinstance(key, bytes):
            seconds = self._sites.spend(key[:6], now)
        return self._told(address, seconds) if seconds else 0

    def guessing(self, address: str, now: float) -> int:
        """Whether a guess would have to wait, and how long; charges nothing. For whoever can tell one beforehand."""
        key = _key(address)
        seconds = self._guesses.wait(key, now)
        if not seconds and isinstance(key, bytes):
            seconds = self._sites.wait(key[:6], now)
        return self._told(address, seconds) if seconds else 0

    def _told(self, address: str, seconds: float) -> int:
        """Whole seconds. Nobody waits for what an address of our own did: it stands for many, whom nobody told apart."""
        if not is_inner(address):
            return math.ceil(seconds)
        if not self._warned:
            self._warned = True
            _LOG.warning("a private address is over the limit and is let through: are ZPCODE_TRUSTED_PROXIES set?")
        return 0


def _key(address: str) -> str | bytes:
    """What shares a budget: an IPv4 address as text, 8 bytes of an IPv6 one. IPv4 in IPv6's clothes is IPv4."""
    if ":" not in address:
        return address
    try:
        raw = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    return socket.inet_ntop(socket.AF_INET, raw[12:]) if raw.startswith(_MAPPED) else raw[:8]


def is_inner(address: str) -> bool:
    """Whether an address is none of the public network: then it is no consumer's, and many may stand behind it."""
    key = _key(address)
    if isinstance(key, str):
        return not key or key.startswith(_INNER)
    return address == "::1" or key.hex().startswith(_INNER_6)
