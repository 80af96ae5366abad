"""Round trips that several callers share: bounded, not cancelled by a caller, each result for its own caller."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from scanweb.lookup.batcher import Batcher
from scanweb.visits.buffer import ScanBuffer
from zpcode.errors import Text, Unavailable
from zpcode.wire.scan_event import ScanEvent


class Doubler:
    """Doubles numbers, once `let` is set."""

    def __init__(self) -> None:
        self.trips: list[list[int]] = []
        self.let = asyncio.Event()
        self.ended = 0

    async def __call__(self, queries: Sequence[int]) -> list[int]:
        """One round trip."""
        self.trips.append(list(queries))
        try:
            await self.let.wait()
        finally:
            self.ended += 1
        if 13 in queries:
            raise Unavailable(Text("坏", "bad"))
        return [2 * query for query in queries]


def batcher_of(doubler: Doubler, **how: float) -> Batcher[int, int]:
    limits = {"limit": 1, "size": 100, "deadline": 5.0} | how
    return Batcher(doubler, limit=int(limits["limit"]), size=int(limits["size"]), deadline=limits["deadline"])


def test_queries_of_one_moment_share_a_round_trip_and_later_ones_wait() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher = batcher_of(doubler)
        first = [batcher.submit(n) for n in (1, 2, 3)]
        await asyncio.sleep(0.01)
        later = [batcher.submit(n) for n in (4, 5)]
        doubler.let.set()
        assert await asyncio.gather(*first, *later) == [2, 4, 6, 8, 10]
        assert doubler.trips == [[1, 2, 3], [4, 5]]

    asyncio.run(scene())


def test_the_size_and_the_number_of_round_trips_are_bounded() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher = batcher_of(doubler, limit=2, size=2)
        futures = [batcher.submit(n) for n in range(6)]
        await asyncio.sleep(0.01)
        assert doubler.trips == [[0, 1], [2, 3]]
        doubler.let.set()
        assert await asyncio.gather(*futures) == [0, 2, 4, 6, 8, 10]

    asyncio.run(scene())


def test_a_caller_that_is_cancelled_cancels_no_other_query() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher = batcher_of(doubler)
        stays, goes = batcher.submit(1), batcher.submit(2)
        await asyncio.sleep(0.01)
        goes.cancel()
        doubler.let.set()
        assert await stays == 2
        assert await batcher.submit(3) == 6

    asyncio.run(scene())


def test_a_late_round_trip_fails_its_queries_and_those_that_wait() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher = batcher_of(doubler, deadline=0.02)
        inside = batcher.submit(1)
        await asyncio.sleep(0)
        behind = batcher.submit(2)
        for query in (inside, behind):
            with pytest.raises(Unavailable):
                await query
        await asyncio.sleep(0.01)
        assert doubler.ended == 1, "and is cancelled"
        doubler.let.set()
        assert await batcher.submit(4) == 8

    asyncio.run(scene())


def test_while_all_round_trips_are_late_a_query_fails_at_once() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher: Batcher[int, int] = Batcher(doubler, limit=1, size=10, deadline=0.01, grace=0.05)
        with pytest.raises(Unavailable):
            await batcher.submit(1)
        refused = batcher.submit(2)
        assert refused.done(), "at once, while the late one is left to end"
        assert doubler.ended == 0
        await asyncio.sleep(0.1)
        assert doubler.ended == 1, "and cancelled when its grace is over"

    asyncio.run(scene())


def test_a_failure_fails_all_queries_of_its_round_trip_and_no_other() -> None:
    async def scene() -> None:
        doubler = Doubler()
        doubler.let.set()
        batcher = batcher_of(doubler, size=2)
        futures = [batcher.submit(n) for n in (13, 1, 2, 3)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable, Unavailable, int, int]

    asyncio.run(scene())


def test_closing_fails_the_queries_that_wait() -> None:
    async def scene() -> None:
        doubler = Doubler()
        batcher = batcher_of(doubler)
        future = batcher.submit(1)
        await asyncio.sleep(0.01)
        await batcher.close()
        with pytest.raises(Unavailable):
            await future
        assert doubler.ended == 1

    asyncio.run(scene())


def test_scans_leave_in_order_and_unacknowledged_ones_are_not_sent_again() -> None:
    buffer = ScanBuffer(4)
    events = [ScanEvent(at, "", "", None, None, "", "", "", b"", "", "") for at in range(5)]
    for event in events:
        buffer.add(event)
    assert (buffer.take(), buffer.dropped) == (events[:4], 1)
    buffer.lose(4)
    assert (buffer.take(), buffer.dropped) == ([], 5)
