"""How many scans, and how many guesses, one address may make before it has to wait.

The address is a whole IPv4 address or the /64 of an IPv6 address. It stays in the memory of this process until it has
paid (`zpcode.ratelimit`), two minutes at most, and is sent nowhere. Each process counts separately.

There are two limits, because many consumers share one address (carrier NAT, an office, a shop):

- scans: every request of a phone counts. Generous.
- guesses: only responses without a proof count: to codes that are forged, unknown, malformed, unsealed or typed. Strict.
  An address without guesses still gets the response to every sealed code. An IPv6 /48 may belong to one customer of a
  hosting provider, so it gets ten times the limit of one /64, not 65 536 times.

A third limit bounds what is stored: the scans of one /24 (IPv6: /48) that this process may record in a day. Every scan takes
from it. Beyond it a scan is answered as always; it is not recorded and does not count.

Methods that begin with `spend` take from a limit; those that begin with `check` take nothing.
"""

from __future__ import annotations

import logging
import math
from typing import Final

from zpcode.ratelimit import RateLimit, is_inner

_LOG = logging.getLogger(__name__)
SITE_SHARE: Final = 10
DAY: Final = 86_400.0


class ScanRateLimits:
    """The limits of one scan process, requests a minute; 0 is no limit. An address is 4 or 16 bytes, empty if unknown.

    `records` is the limit of one network a day. `now` is monotonic, in seconds.
    """

    __slots__ = ("_guesses", "_records", "_scans", "_sites", "_warned")

    def __init__(self, scans: int, guesses: int, records: int = 0) -> None:
        self._scans = RateLimit(scans)
        self._guesses = RateLimit(guesses)
        self._sites = RateLimit(guesses * SITE_SHARE)
        self._records = RateLimit(records, period=DAY)
        self._warned = False

    def spend_scan(self, address: bytes, now: float) -> int:
        """Take one scan: 0 if it is allowed, else the whole seconds to wait (at least 1), for Retry-After."""
        seconds = self._scans.spend(address if len(address) == 4 else address[:8], now)
        return self._whole_seconds(address, seconds) if seconds else 0

    def spend_record(self, address: bytes, now: float) -> bool:
        """Take one scan that may be recorded of the address's network today; return False if there is none left."""
        refused = self._records.spend(address[:3] if len(address) == 4 else address[:6], now)
        return not refused or is_inner(address)

    def spend_guess(self, address: bytes, now: float) -> int:
        """Take one guess: 0 if its response may be sent. Else nothing is taken: the whole seconds to wait."""
        seconds = self._until_guess(address, now)
        if seconds:
            return self._whole_seconds(address, seconds)
        self._guesses.spend(address[:8], now)
        if len(address) == 16:
            self._sites.spend(address[:6], now)
        return 0

    def check_guess(self, address: bytes, now: float) -> int:
        """The whole seconds a guess would have to wait, 0 for none. Takes nothing: for requests that are guesses by their path."""
        seconds = self._until_guess(address, now)
        return self._whole_seconds(address, seconds) if seconds else 0

    def _until_guess(self, address: bytes, now: float) -> float:
        """The seconds until both limits allow a guess."""
        seconds = self._guesses.check(address[:8], now)
        return max(seconds, self._sites.check(address[:6], now)) if len(address) == 16 else seconds

    def _whole_seconds(self, address: bytes, seconds: float) -> int:
        """Seconds rounded up; 0 for a private address, because many clients stand behind it and cannot be told apart."""
        if not is_inner(address):
            return math.ceil(seconds)
        if not self._warned:
            self._warned = True
            _LOG.warning("a private address is over the limit and is let through: are ZPCODE_TRUSTED_PROXIES set?")
        return 0
