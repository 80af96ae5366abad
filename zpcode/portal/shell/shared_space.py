"""Space that senders share, measured in bytes: when it is full, the sender that holds most of it gives way.

A bound on what is held at a time (forms that are being read, photos that wait) protects the memory. If it went to those who
come first, a few senders with many slow or large forms would keep all others out. So a newcomer takes the space of the
largest holder: among blocks of addresses (an IPv4 /16, an IPv6 /32), else among the networks of the newcomer's block, else
among the addresses of its network, else among the forms of its address. The largest holder must hold more than the newcomer
will hold, so that two never drive each other out in turn. Of a sender that gives way it is the largest form, and among
equals the one that is there longest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from zpcode.ratelimit import block, network, payer

_FORM: Final = 3
"""The level of a single form, below block, network and address."""


class SpaceFull(Exception):
    """The space is full, and this sender holds as much of it as any other would."""


@dataclass(slots=True, eq=False)
class _Holder:
    """Space that is holders: its sender at each level, how much it holds, and the time after which it is stopped."""

    keys: tuple[object, ...]
    size: int
    timeout: asyncio.Timeout


class SharedSpace:
    """`size` bytes; whatever is held counts as at least `least`. Used in one event loop."""

    def __init__(self, size: int, least: int) -> None:
        self._size, self._least = size, least
        self._holders: dict[_Holder, None] = {}

    def __len__(self) -> int:
        """How many forms hold space."""
        return len(self._holders)

    @asynccontextmanager
    async def hold(self, address: str | None, size: int, seconds: float | None = None) -> AsyncIterator[None]:
        """Hold `size` bytes for the sender with this address, for at most so many seconds.

        Raises SpaceFull, at once or within the block when another sender takes the space, and TimeoutError.
        """
        sender = (block(address), network(address), payer(address), object())
        new = _Holder(sender, max(size, self._least), asyncio.timeout(seconds))
        for one in self._in_the_way(new):
            del self._holders[one]
            if not one.timeout.expired():
                one.timeout.reschedule(0.0)
        try:
            async with new.timeout:
                self._holders[new] = None
                yield
        except TimeoutError:
            if new not in self._holders:
                raise SpaceFull from None
            raise
        finally:
            self._holders.pop(new, None)

    def _in_the_way(self, new: _Holder) -> list[_Holder]:
        """Who gives way to a newcomer. Raises SpaceFull."""
        staying = list(self._holders)
        leaving = []
        while sum(one.size for one in staying) + new.size > self._size:
            largest = _largest(staying, new)
            if largest is None:
                raise SpaceFull
            staying.remove(largest)
            leaving.append(largest)
        return leaving


def _largest(holders: Iterable[_Holder], new: _Holder) -> _Holder | None:
    """The form of the largest holder, if it holds more than the newcomer would; looked for from block to form."""
    near = list(holders)
    for level, own in enumerate(new.keys):
        sizes = _sizes(near, level)
        mine = sizes.pop(own, 0) + new.size
        if sizes and max(sizes.values()) > mine:
            largest = max(sizes, key=sizes.__getitem__)
            return _within([one for one in near if one.keys[level] == largest], level + 1)
        near = [one for one in near if one.keys[level] == own]
    return None


def _within(holders: list[_Holder], level: int) -> _Holder:
    """The largest form of the largest sender among these, from this level on."""
    for below in range(level, _FORM + 1):
        sizes = _sizes(holders, below)
        largest = max(sizes, key=sizes.__getitem__)
        holders = [one for one in holders if one.keys[below] == largest]
    return holders[0]


def _sizes(holders: Iterable[_Holder], level: int) -> Counter[object]:
    """How much each sender at a level holds, in the order in which they came."""
    sizes: Counter[object] = Counter()
    for one in holders:
        sizes[one.keys[level]] += one.size
    return sizes
