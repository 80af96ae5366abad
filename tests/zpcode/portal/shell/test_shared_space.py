"""Who gives way when a space that senders share is full."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zpcode.portal.shell.shared_space import SharedSpace, SpaceFull

GAVE_WAY, REFUSED, HOLDS = "gave way", "refused", "holds"


class Space:
    """A space of 100, and what became of each who came."""

    def __init__(self, size: int = 100, least: int = 1) -> None:
        self.space = SharedSpace(size, least)
        self.holders: list[tuple[str | None, int, asyncio.Task[str]]] = []

    async def come(self, address: str | None, size: int) -> int:
        """Somebody comes who holds this much until the end; returns the number of the holder."""
        self.holders.append((address, size, asyncio.ensure_future(self._hold(address, size))))
        for _ in range(4):  # until the sender that gives way has noticed it
            await asyncio.sleep(0)
        return len(self.holders) - 1

    async def _hold(self, address: str | None, size: int) -> str:
        holds = False
        try:
            async with self.space.hold(address, size):
                holds = True
                await asyncio.Event().wait()
        except SpaceFull:
            return GAVE_WAY if holds else REFUSED
        return ""

    def outcomes(self) -> list[str]:
        """What has become of each, in the order in which they came."""
        return [task.result() if task.done() else HOLDS for _, _, task in self.holders]

    def holding(self, beginning: str) -> int:
        """How much those hold whose address begins so."""
        mine = [
            size for address, size, task in self.holders if not task.done() and (address or "").startswith(beginning)
        ]
        return sum(mine)


def run(test: Callable[[Space], Awaitable[None]], size: int = 100, least: int = 1) -> None:
    """Run a test in an event loop, and give up what is still held at its end."""

    async def whole() -> None:
        space = Space(size, least)
        await test(space)
        tasks = [task for _, _, task in space.holders]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(space.space) == 0

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_six_addresses_that_hold_everything_make_room_for_a_small_form() -> None:
    """One form of theirs gives way, the oldest of the largest. The newcomer stays, whatever they send afterwards."""

    async def test(space: Space) -> None:
        for number in range(10):
            await space.come(f"60.{number % 6}.0.1", 10)
        honest = await space.come("61.0.0.1", 3)
        assert space.outcomes() == [GAVE_WAY] + [HOLDS] * 10
        for number in range(60):
            await space.come(f"60.{number % 6}.0.1", 10)
        assert space.outcomes()[honest] == HOLDS
        assert max(space.holding(f"60.{number}.") for number in range(6)) <= 20

    run(test)


@pytest.mark.parametrize(
    ("holder", "newcomer"),
    [
        ("60.{}.0.1", "61.0.0.1"),
        ("60.0.{}.1", "61.0.0.1"),
        ("60.0.{}.1", "60.0.200.1"),
        ("60.0.0.{}", "60.0.1.1"),
        ("60.0.0.{}", "60.0.0.200"),
        ("2a00:{:x}::1", "2b00::1"),
        ("2a00:1450:{:x}::1", "2b00::1"),
        ("2a00:1450:{:x}::1", "2a00:1450:ffff::1"),
        ("2a00:1450:0:{:x}::1", "2a00:1450:1::1"),
        ("2a00:1450:0:{:x}::1", "2a00:1450:0:ffff::1"),
    ],
)
def test_who_has_little_gets_room_from_who_has_much_among_blocks_networks_and_addresses(
    holder: str, newcomer: str
) -> None:
    """Twenty hold 5 each. A form of 2 gets in, also in the block, the network and beside the addresses of the attacker."""

    async def test(space: Space) -> None:
        for number in range(20):
            await space.come(holder.format(number), 5)
        await space.come(newcomer, 2)
        assert sorted(space.outcomes()) == [GAVE_WAY] + [HOLDS] * 20

    run(test)


def test_a_small_form_gets_room_from_a_large_one_of_the_same_address_and_of_a_proxy() -> None:
    """Many people may have one address; of a proxy that passes on no addresses, all have."""

    async def test(space: Space) -> None:
        for address in ("60.0.0.1", None):
            await space.come(address, 50)
        for address in ("60.0.0.1", None):
            await space.come(address, 10)
        assert space.outcomes() == [GAVE_WAY, HOLDS, HOLDS, HOLDS]
        await space.come(None, 50)
        assert space.outcomes() == [GAVE_WAY, HOLDS, HOLDS, HOLDS, REFUSED]

    run(test)


def test_equals_do_not_drive_each_other_out() -> None:
    """Ten senders hold a tenth each. An eleventh is refused, of its size; and so is another form of theirs."""

    async def test(space: Space) -> None:
        for number in range(10):
            await space.come(f"60.{number}.0.1", 10)
        for address in ("61.0.0.1", "60.0.0.1", None):
            await space.come(address, 10)
        assert space.outcomes() == [HOLDS] * 10 + [REFUSED] * 3

    run(test)


def test_a_whole_block_gives_way_before_a_block_that_holds_less() -> None:
    """The attacker has 80 addresses of one block with 1 each; the only form of another block is larger, and stays."""

    async def test(space: Space) -> None:
        other = await space.come("61.0.0.1", 20)
        for number in range(80):
            await space.come(f"60.0.{number}.1", 1)
        newcomers = [await space.come(f"62.{number}.0.1", 10) for number in range(3)]
        assert [space.outcomes()[one] for one in (other, *newcomers)] == [HOLDS] * 4

    run(test)


def test_within_a_block_the_network_that_holds_most_gives_way_before_the_largest_form() -> None:
    """Among networks first, then among addresses: senders who share a network count together."""

    async def test(space: Space) -> None:
        crowd = [await space.come(f"60.0.1.{number}", 30) for number in (1, 2)]
        single = await space.come("60.0.2.1", 40)
        newcomer = await space.come("61.0.0.1", 10)
        assert [space.outcomes()[one] for one in (*crowd, single, newcomer)] == [GAVE_WAY, HOLDS, HOLDS, HOLDS]

    run(test)


def test_a_small_form_counts_as_at_least_so_much() -> None:
    async def test(space: Space) -> None:
        for number in range(11):
            await space.come("60.0.0.1", 1)
            assert space.outcomes()[number] == (HOLDS if number < 10 else REFUSED)

    run(test, least=10)


def test_what_would_never_fit_is_refused_and_drives_nobody_out() -> None:
    async def test(space: Space) -> None:
        await space.come("60.0.0.1", 90)
        await space.come("61.0.0.1", 101)
        assert space.outcomes() == [HOLDS, REFUSED]

    run(test)


def test_time_is_up_for_a_holder() -> None:
    async def hold() -> None:
        async with SharedSpace(1, 1).hold(None, 1, seconds=0.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(hold())


def test_a_holder_whose_time_is_up_just_when_it_gives_way_does_not_harm_the_newcomer() -> None:
    """The time is up in the same turn of the event loop, and the holder has not been woken yet."""

    async def test() -> None:
        space = SharedSpace(10, 1)

        async def hold() -> None:
            async with space.hold("60.0.0.1", 10, seconds=0.0):
                await asyncio.Event().wait()

        async def come() -> str:
            await asyncio.sleep(0)
            async with space.hold("61.0.0.1", 5):
                return HOLDS

        late, outcome = await asyncio.gather(hold(), come(), return_exceptions=True)
        assert isinstance(late, SpaceFull)
        assert outcome == HOLDS

    asyncio.run(asyncio.wait_for(test(), 60))


sizes = st.integers(1, 60)
addresses = st.builds(
    "{}.{}.{}.{}".format, *[st.integers(60, 61), st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)]
)


@given(st.lists(st.tuples(addresses, sizes), max_size=30))
@example([("60.0.0.0", 44), ("60.1.1.0", 13), ("60.1.1.0", 13), ("61.0.0.0", 26), ("60.1.0.0", 18)])
def test_the_space_is_never_exceeded_and_only_a_block_that_holds_more_gives_way(came: list[tuple[str, int]]) -> None:
    """It held more than the block of the newcomer holds then, so that they never drive each other out in turn.

    First a sender of the newcomer's own block may have given way, which makes the block smaller (the example).
    """

    async def test(space: Space) -> None:
        for address, size in came:
            own = address[:5]
            before = {block: space.holding(block) for block in ("60.0.", "60.1.", "61.0.", "61.1.")}
            outcomes = space.outcomes()
            await space.come(address, size)
            assert space.holding("") <= 100
            for number, outcome in enumerate(outcomes):
                block = str(space.holders[number][0])[:5]
                if outcome == HOLDS != space.outcomes()[number]:
                    assert block == own or before[block] > space.holding(own) >= size

    run(test)
