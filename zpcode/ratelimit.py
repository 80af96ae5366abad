"""So many a minute, or an hour: what that means, the same wherever requests are counted, and who pays.

A budget is spent by GCRA (ITU-T I.371, annex A): a period's worth at once, from then on at the budget's pace.
It keeps one number a key: when that key will have paid for everything it had. Keys are gone through in turn, a few with
every new one (a CLOCK, Corbató 1968), so that nobody waits while thousands are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

MINUTE: Final = 60.0
KEPT: Final = 50_000
"""Keys remembered, unless told otherwise: about 8 MB of them."""
LOOKED: Final = 64
"""Keys gone through with a new one, at most."""
_SLACK: Final = 1e-6  # seconds: more than adding up a minute's steps can lose


class RateLimit:
    """`each` of something a `period` (seconds) for each key; 0: as much as it likes. `now` is in seconds, never goes back."""

    __slots__ = ("_due", "_half", "_kept", "_room", "_step")

    def __init__(self, each: int, kept: int = KEPT, period: float = MINUTE) -> None:
        self._step = period / each if each else 0.0
        self._room = period - self._step + _SLACK
        self._half = period / 2
        self._kept = kept
        self._due: OrderedDict[str | bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._due)

    def spend(self, key: str | bytes, now: float) -> float:
        """Take one. 0 where there was one to take, otherwise the seconds until there is."""
        due = self._due.get(key, 0.0)
        if due > now:
            if due - now > self._room:
                return due - now - self._room
            self._due[key] = due + self._step
            return 0.0
        if self._step:
            if not due:
                self._forget(now)
            self._due[key] = now + self._step
        return 0.0

    def wait(self, key: str | bytes, now: float) -> float:
        """The seconds until there is one to take; takes nothing."""
        return max(0.0, self._due.get(key, 0.0) - now - self._room)

    def _forget(self, now: float) -> None:
        """Forget whoever is next and has paid. Where there is no room: whoever is next and spent less than half, or anybody."""
        keys, least = self._due, now + self._half
        for _ in range(min(LOOKED, len(keys))):
            key, due = keys.popitem(last=False)
            if due <= now:
                continue
            if len(keys) + 1 < self._kept:
                keys[key] = due
                return
            if due <= least:
                return
            keys[key] = due
        if len(keys) >= self._kept:
            keys.popitem(last=False)


def payer(address: str | None) -> bytes | None:
    """What shares a budget: an IPv4 address, or the /64 of an IPv6 one; None for what is no address, or not a public one.

    An address that is none of the public network is a proxy that was not told to say who stands behind it: what it
    does is everybody's.
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
