"""A bound on complaints, shared by blocks of addresses."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.rules.complaints.shares import RESERVE, FairBound, SubjectOfBlock

ITEM, OTHER = "/01/1/21/A", "/01/1/21/B"
DAY = 86_400.0
MOST = 300


def of(block: int | None, subject: str = ITEM) -> SubjectOfBlock:
    """A complaint of a block of addresses."""
    return SubjectOfBlock(subject, None if block is None else block.to_bytes(4, "big"))


def taken(bound: FairBound, *keys: SubjectOfBlock, now: float = 0.0) -> Counter[SubjectOfBlock]:
    """How many of these complaints are taken, one after the other."""
    counts: Counter[SubjectOfBlock] = Counter()
    for key in keys:
        if not bound.check(key, now):
            bound.charge(key, now)
            counts[key] += 1
    return counts


def flood(bound: FairBound, blocks: int, *, in_turn: bool) -> int:
    """How many complaints are taken from so many blocks, each of which sends as much as it can."""
    everyone, total = [of(block) for block in range(blocks)], 0
    for keys in [everyone] if in_turn else [[key] for key in everyone]:
        while more := taken(bound, *keys).total():
            total += more
    return total


def test_one_block_takes_half_of_the_common_part_and_a_129th_of_the_reserve() -> None:
    """Each rounded up: half of 150, and a 129th of 150."""
    bound = FairBound(MOST, DAY)
    assert taken(bound, *[of(1)] * MOST) == {of(1): 75 + 2}
    assert taken(bound, *[of(2)] * MOST)[of(2)] > 30
    assert taken(bound, *[of(1, OTHER)] * MOST) == {of(1, OTHER): 75 + 2}, "of every subject"


@pytest.mark.parametrize("in_turn", [True, False])
def test_a_flood_from_64_blocks_leaves_half_of_the_reserve(*, in_turn: bool) -> None:
    """Whether they send in turn or one after the other, 75 people of other blocks are still served."""
    bound = FairBound(MOST, DAY)
    assert flood(bound, 64, in_turn=in_turn) <= MOST * 3 // 4
    assert taken(bound, *(of(block) for block in range(1000, 1075))).total() == 75


@pytest.mark.parametrize(("most", "blocks"), [(300, 139), (6000, 482), (20_000, 635)])
def test_so_many_blocks_use_up_a_bound(most: int, blocks: int) -> None:
    """The marked complaints of a day about an item, about a product, and in all, with the default limits."""
    for flooding, left in ((blocks - 1, 1), (blocks, 0)):
        assert flood(FairBound(most, DAY), flooding, in_turn=False) == most - left


@given(st.integers(0, 2 * RESERVE), st.booleans(), st.integers(1, MOST))
def test_the_bound_is_never_exceeded_and_a_first_complaint_is_taken_while_anything_is_left(
    blocks: int, in_turn: bool, most: int
) -> None:
    bound = FairBound(most, DAY)
    used = flood(bound, blocks, in_turn=in_turn)
    assert used <= most
    assert taken(bound, of(10_000)).total() == (used < most)


def test_a_proxy_that_does_not_pass_on_addresses_may_take_everything() -> None:
    bound = FairBound(MOST, DAY)
    assert taken(bound, *[of(None)] * (MOST + 1)) == {of(None): MOST}


def test_counts_are_exact_until_the_window_ends() -> None:
    """It begins with the first complaint. Nothing comes back before its end; then everything does."""
    bound = FairBound(MOST, DAY)
    taken(bound, *[of(1)] * MOST, now=1000.0)
    assert bound.check(of(1), 1000.0 + DAY / 2) == DAY / 2
    assert taken(bound, *[of(1)] * MOST, now=999.0 + DAY).total() == 0
    assert taken(bound, *[of(1)] * MOST, now=1000.0 + DAY).total() == 77


def test_what_is_given_back_can_be_taken_again() -> None:
    """Also what was taken of the reserve; and nobody gives back what was not taken in this window."""
    bound = FairBound(MOST, DAY)
    alone = taken(bound, *[of(1)] * MOST).total()
    for _ in range(alone + 5):
        bound.charge(of(1), 1.0, -1)
    assert taken(bound, *[of(1)] * MOST).total() == alone
    taken(bound, *[of(None)] * MOST)
    assert bound.check(of(2), 1.0) > 0


def test_without_a_bound_everything_is_taken() -> None:
    bound = FairBound(0, DAY)
    assert taken(bound, *[of(1)] * 1000).total() == 1000
