"""Round trips shared by those who wait: bounded, never cancelled by a caller, never answered to another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from scanweb.lookup.batcher import Batcher
from scanweb.visits.buffer import ScanBuffer
from zpcode.errors import Text, Unavailable
from zpcode.wire.scan_event import ScanEvent


class Doubler:
    """Answers a number by its double, when it is let."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.let = asyncio.Event()
        self.ended = 0

    async def __call__(self, questions: Sequence[int]) -> list[int]:
        """One trip."""
        self.trips.append(list(questions))
        try:
            await self.let.wait()
        finally:
            self.ended += 1
        if 13 in questions:
            raise Unavailable(Text("坏", "bad"))
        return [2 * question for question in questions]


def gather(doubler: Doubler, **how: float) -> Batcher[int, int]:
    limits = {"limit": 1, "size": 100, "deadline": 5.0} | how
    return Batcher(doubler, limit=int(limits["limit"]), size=int(limits["size"]), deadline=limits["deadline"])


def test_questions_that_come_together_are_asked_together_and_later_ones_wait() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered = gather(doubler)
        first = [gathered.submit(n) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        later = [gathered.submit(n) for n in (4, 5)]
        doubler.let.set()
        assert await asyncio.gather(*first, *later) == [2, 4, 6, 8, 10]
        assert doubler.trips == [[1, 2, 3], [4, 5]]

    asyncio.run(scene())


def test_a_trip_has_a_size_and_there_is_a_limit_to_how_many_run() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered = gather(doubler, limit=2, size=2)
        asked = [gathered.submit(n) for n in range(6)]
        await asyncio.sleep(0.01)
        assert doubler.trips == [[0, 1], [2, 3]]
        doubler.let.set()
        assert await asyncio.gather(*asked) == [0, 2, 4, 6, 8, 10]

    asyncio.run(scene())


def test_a_caller_who_goes_away_takes_nothing_with_him() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered = gather(doubler)
        stays, goes = gathered.submit(1), gathered.submit(2)
        await asyncio.sleep(0.01)
        goes.cancel()
        doubler.let.set()
        assert await stays == 2
        assert await gathered.submit(3) == 6

    asyncio.run(scene())


def test_a_late_trip_fails_those_in_it_and_those_behind_it() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered = gather(doubler, deadline=0.02)
        inside = gathered.submit(1)
        await asyncio.sleep(0)
        behind = gathered.submit(2)
        for question in (inside, behind):
            with pytest.raises(Unavailable):
                await question
        await asyncio.sleep(0.01)
        assert doubler.ended == 1, "and is wound up"
        doubler.let.set()
        assert await gathered.submit(4) == 8

    asyncio.run(scene())


def test_nobody_queues_before_a_server_whose_trips_are_all_late() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered: Batcher[int, int] = Batcher(doubler, limit=1, size=10, deadline=0.01, grace=0.05)
        with pytest.raises(Unavailable):
            await gathered.submit(1)
        refused = gathered.submit(2)
        assert refused.done(), "at once, while the late one is left to end"
        assert doubler.ended == 0
        await asyncio.sleep(0.1)
        assert doubler.ended == 1, "and cancelled when its grace is over"

    asyncio.run(scene())


def test_a_failure_is_told_to_all_in_the_trip_and_to_nobody_else() -> None:
    async def scene() -> None:
        doubler = Doubler()
        doubler.let.set()
        gathered = gather(doubler, size=2)
        asked = [gathered.submit(n) for n in (13, 1, 2, 3)]
        told = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(answer) for answer in told] == [Unavailable, Unavailable, int, int]

    asyncio.run(scene())


def test_closing_ends_what_waits() -> None:
    async def scene() -> None:
        doubler = Doubler()
        gathered = gather(doubler)
        asked = gathered.submit(1)
        await asyncio.sleep(0.01)
        await gathered.close()
        with pytest.raises(Unavailable):
            await asked
        assert doubler.ended == 1

    asyncio.run(scene())


def test_scans_leave_in_order_and_what_may_have_arrived_is_dropped_not_sent_again() -> None:
    buffer = ScanBuffer(4)
    events = [ScanEvent(at, "", "", None, None, "", "", "", b"", "", "") for at in range(5)]
    for event in events:
        buffer.add(event)
    assert (buffer.take(), buffer.dropped) == (events[:4], 1)
    buffer.lose(4)
    assert (buffer.take(), buffer.dropped) == ([], 5)
