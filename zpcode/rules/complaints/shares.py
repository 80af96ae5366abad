"""How many complaints are taken about a subject in a time, and how blocks of addresses share them.

A bound that anybody can use up silences everybody else. So it has two parts, and in each part a block of addresses (an IPv4
/16, an IPv6 /32: what one provider has) may take as much as it leaves to others:

- Of the common part, a block may take one more while more is left than it has taken. So one block takes half of it.
- Of the reserve, a block may take one more while more than 128 times is left. So one block takes a 129th of it, and a flood
  from n blocks leaves (128/129)^n: of 64 blocks 60 %. Nobody is served from the reserve before the common part refuses.

The first complaint of a block is taken while anything is left. Dynamic queue thresholds (Choudhury and Hahne, 1998) share the
memory of a switch by the same rule.

The counts are exact until their window ends. A window begins with the first complaint after the end of the one before. A
limit that fills up again all the time would give what comes back to the sender who asks most often.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

COMMON, RESERVE = 1, 128
"""How many times what a block has taken of a part must be left of it."""


class SubjectOfBlock(NamedTuple):
    """What a complaint is about, and the block of addresses that it comes from.

    None: from a proxy that does not pass on its clients' addresses, so that they cannot be told apart. It may take everything.
    """

    subject: str
    block: bytes | None


@dataclass(slots=True)
class _Part:
    """A part of a bound: `most` complaints about each subject, of which a block leaves `leaves` times what it has taken."""

    most: int
    leaves: int
    taken: Counter[str] = field(default_factory=Counter)
    of_blocks: Counter[SubjectOfBlock] = field(default_factory=Counter)

    def allows(self, key: SubjectOfBlock) -> bool:
        own = 0 if key.block is None else self.of_blocks[key]
        return self.most - self.taken[key.subject] > self.leaves * own

    def add(self, key: SubjectOfBlock, complaints: int) -> None:
        self.taken[key.subject] += complaints
        self.of_blocks[key] += complaints


class FairBound:
    """At most `most` complaints about each subject in a window of `period` seconds, half of it a reserve; 0: no bound.

    `now` is in seconds and never goes back. The memory is one count for each complaint that is taken, at most.
    """

    def __init__(self, most: int, period: float) -> None:
        self._most, self._period, self._ends = most, period, 0.0
        self._parts = self._empty()

    def _empty(self) -> tuple[_Part, _Part]:
        return _Part(self._most - self._most // 2, COMMON), _Part(self._most // 2, RESERVE)

    def check(self, key: SubjectOfBlock, now: float) -> float:
        """The seconds until a complaint may be taken, 0.0 for now. Takes nothing."""
        if not self._most or now >= self._ends or any(part.allows(key) for part in self._parts):
            return 0.0
        return self._ends - now

    def charge(self, key: SubjectOfBlock, now: float, complaints: int = 1) -> None:
        """Take one complaint (1), whether it is allowed or not, or give one back (-1)."""
        if not self._most:
            return
        if now >= self._ends:
            self._parts, self._ends = self._empty(), now + self._period
        common, reserve = self._parts
        if complaints > 0:
            part = reserve if reserve.allows(key) and not common.allows(key) else common
            part.add(key, complaints)
        else:
            part = reserve if reserve.of_blocks[key] else common
            part.add(key, -min(-complaints, part.of_blocks[key]))
