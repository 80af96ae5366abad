"""Questions that come while an answer is under way are asked together: the shape of every round trip here.

A caller awaits a future of its own; the work runs in a task that no caller can cancel. So a request
that is given up never leaves a half-read connection behind, and nobody reads another's reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from zpcode.errors import Text, Unavailable

Q = TypeVar("Q")
A = TypeVar("A")

_LOG = logging.getLogger(__name__)
_LATE = Text("服务暂时没有应答", "no answer in time")


class Batcher(Generic[Q, A]):
    """Bounded round trips, each for all the questions that were waiting when it began.

    `run` is given the questions and returns as many answers in their order, or raises Unavailable for
    all. At most `limit` run at once, each with at most `size` questions. A round trip that takes longer
    than `deadline` seconds fails with everything that waits behind it, and is cancelled `grace` seconds
    later; as long as all of them are late, new questions fail at once: nobody queues before a dead server.
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
        run: Callable[[Sequence[Q]], Awaitable[Sequence[A]]],
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
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, question: Q) -> asyncio.Future[A]:
        """The answer to come. Fails with Unavailable at once where the queue is far too long already."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[A] = loop.create_future()
        if len(self._late) >= self._limit or len(self._waiting) >= 16 * self._size:
            _fail([(question, future)])
            return future
        self._waiting.append((question, future))
        if self._running < self._limit and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._start)  # not at once: what else came in this turn of the loop goes along
        return future

    def _start(self) -> None:
        self._scheduled = False
        while self._waiting and self._running < self._limit:
            taken, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            self._running += 1
            self._begin(taken)

    def _begin(self, taken: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        loop = asyncio.get_running_loop()
        timer: list[asyncio.TimerHandle] = []
        task = loop.create_task(self._trip(taken, timer))
        timer.append(loop.call_later(self._deadline, self._expire, taken, task, timer))
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
        self, taken: Sequence[tuple[Q, asyncio.Future[A]]], task: asyncio.Task[None], timer: list[asyncio.TimerHandle]
    ) -> None:
        self._late.add(task)
        timer[0] = asyncio.get_running_loop().call_later(self._grace, task.cancel)
        waiting, self._waiting = self._waiting, []
        _fail(taken)
        _fail(waiting)

    async def _trip(self, taken: Sequence[tuple[Q, asyncio.Future[A]]], timer: list[asyncio.TimerHandle]) -> None:
        try:
            answers = await self._run([question for question, _ in taken])
            for (_, future), answer in zip(taken, answers, strict=True):
                if not future.done():
                    future.set_result(answer)
        except Unavailable:
            return  # told to those who wait, below
        finally:
            timer[0].cancel()
            _fail(taken)

    async def close(self) -> None:
        """Give up what is waiting, and what is under way once its grace is over."""
        waiting, self._waiting = self._waiting, []
        _fail(waiting)
        tasks = list(self._tasks)
        if tasks and self._grace:
            await asyncio.wait(tasks, timeout=self._grace)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _fail(taken: Sequence[tuple[object, asyncio.Future[A]]]) -> None:
    for _, future in taken:
        if not future.done():
            future.set_exception(Unavailable(_LATE))
            future.exception()  # a caller that went away leaves nobody to be told
