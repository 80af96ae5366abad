"""Request coalescing: queries that arrive while a round trip is under way are sent together in the next one.

A caller awaits a future; the round trip runs in a task that no caller can cancel. So a request that is given up never
leaves a half-read connection behind, and no caller gets the reply to another caller's query.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from zpcode.errors import Text, Unavailable

Q = TypeVar("Q")
R = TypeVar("R")

_LOG = logging.getLogger(__name__)
_LATE = Text("服务暂时没有应答", "no answer in time")


class Batcher(Generic[Q, R]):
    """Bounded round trips, each for all queries that were waiting when it began.

    `run` gets the queries and returns their results in the same order, or raises Unavailable for all of them. At most
    `limit` round trips run at once, each with at most `size` queries.

    A round trip that takes longer than `deadline` seconds fails, and so do the queries that wait behind it; it is
    cancelled `grace` seconds later. While all round trips are late, new queries fail at once: queries do not queue
    for a server that does not answer.
    """

    __slots__ = (
        "_deadline",
        "_grace",
        "_late",
        "_limit",
        "_run",
        "_running",
        "_scheduled",
        "_size",
        "_tasks",
        "_waiting",
    )

    def __init__(
        self,
        run: Callable[[Sequence[Q]], Awaitable[Sequence[R]]],
        *,
        limit: int,
        size: int,
        deadline: float,
        grace: float = 0.0,
    ) -> None:
        self._run = run
        self._limit, self._size, self._deadline, self._grace = limit, size, deadline, grace
        self._running = 0
        self._scheduled = False
        self._late: set[asyncio.Task[None]] = set()
        self._waiting: list[tuple[Q, asyncio.Future[R]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, query: Q) -> asyncio.Future[R]:
        """A future of the query's result. It fails with Unavailable at once if 16 full round trips are waiting."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        if len(self._late) >= self._limit or len(self._waiting) >= 16 * self._size:
            _fail([(query, future)])
            return future
        self._waiting.append((query, future))
        if self._running < self._limit and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)  # at the end of this turn of the loop, so that its other queries join
        return future

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and self._running < self._limit:
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._running += 1
            self._begin(batch)

    def _begin(self, batch: Sequence[tuple[Q, asyncio.Future[R]]]) -> None:
        loop = asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []
        task = loop.create_task(self._round_trip(batch, timer))
        timer.append(loop.call_later(self._deadline, self._expire, batch, task, timer))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._late.discard(task)
        self._running -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a round trip failed", exc_info=error)
        self._start()

    def _expire(
        self, batch: Sequence[tuple[Q, asyncio.Future[R]]], task: asyncio.Task[None], timer: list[asyncio.TimerHandle]
    ) -> None:
        self._late.add(task)
        timer[0] = asyncio.get_running_loop().call_later(self._grace, task.cancel)
        waiting, self._waiting = self._waiting, []
        _fail(batch)
        _fail(waiting)

    async def _round_trip(self, batch: Sequence[tuple[Q, asyncio.Future[R]]], timer: list[asyncio.TimerHandle]) -> None:
        try:
            results = await self._run([query for query, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        except Unavailable:
            return  # `_fail` below tells the callers
        finally:
            timer[0].cancel()
            _fail(batch)

    async def close(self) -> None:
        """Fail the queries that wait; cancel the round trips that are still under way after `grace` seconds."""
        waiting, self._waiting = self._waiting, []
        _fail(waiting)
        tasks = list(self._tasks)
        if tasks and self._grace:
            await asyncio.wait(tasks, timeout=self._grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fail(batch: Sequence[tuple[object, asyncio.Future[R]]]) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(Unavailable(_LATE))
            future.exception()  # mark it as retrieved: the caller may have gone
