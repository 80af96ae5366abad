"""The worker: issues batches, keeps Redis up with the database, drains scans. A composition root.

Everything it does, someone else has done already or will do again: a revocation reaches Redis at its
commit, a reserved batch is found by the sweep, a scan stays in its stream. So it may be stopped, killed
or run twice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from redis import Redis

from keys.client import Signer, SignerClient
from zpcode.embedded.servers import Servers
from zpcode.errors import Conflict, SignerError, Text, Unavailable
from zpcode.rules.batches import today
from zpcode.services import issuing, jobs, projection, registry, scans
from zpcode.settings import Settings
from zpcode.store import batches
from zpcode.store.session import Engine, connect, transaction

PROJECT_SECONDS: Final = 0.25
DRAIN_SECONDS: Final = 0.25
SWEEP_SECONDS: Final = 5.0
TURN_SECONDS: Final = 5.0
PARTITION_SECONDS: Final = 3600.0
RECONNECT_SECONDS: Final = 2.0
BATCHES_AT_ONCE: Final = 2
SWEPT_AT_ONCE: Final = 100
_logger = logging.getLogger(__name__)


@dataclass
class Worker:
    """One worker process. `redis` copies cards, `stream` drains scans; `stop` ends everything it does."""

    database: str
    engine: Engine
    redis: Redis
    stream: Redis
    signer: Signer
    queue: jobs.IssueQueue
    directory: Path
    consumer: str = field(default_factory=socket.gethostname)
    stop: threading.Event = field(default_factory=threading.Event)

    def issue_once(self, number: int) -> None:
        """Issue one batch and show it to the scan service; what cannot be done now is tried again by the sweep."""
        try:
            batch = issuing.issue(
                self.engine, self.signer, number, directory=self.directory, clock=_clock, stop=self.stop
            )
        except Conflict:
            return  # someone else is at it
        except (SignerError, Unavailable) as error:
            _logger.warning("batch waits", extra={"batch": number, "reason": error.text.en})
            return
        _logger.info("batch is %s", batch.state.value, extra={"batch": number, "codes": batch.codes})
        with suppress(Unavailable):
            self.project_once()

    def project_once(self) -> int:
        """Copy the cards that Redis has not got yet. Raises Unavailable."""
        return projection.catch_up(self.engine, self.redis)

    def drain_once(self) -> int:
        """Move up to a thousand scans into PostgreSQL; returns how many are done with. Raises Unavailable."""
        return scans.drain(self.engine, self.stream, consumer=self.consumer, now=_clock())

    def drain_all(self) -> None:
        """Drain until the stream is empty. Raises Unavailable."""
        while not self.stop.is_set() and self.drain_once() > 0:
            pass

    def sweep_once(self) -> int:
        """Queue the reserved batches that nobody is issuing; returns how many there are. Raises Unavailable.

        This is what finds a batch whose process died between its reservation and its job.
        """
        with transaction(self.engine) as connection:
            numbers = batches.waiting(connection, SWEPT_AT_ONCE)
        if not all(self.queue.defer_issue(number) for number in numbers):
            raise Unavailable(Text("任务队列暂时无法访问", "the job queue cannot be reached"))
        return len(numbers)

    def turn_once(self) -> None:
        """At midnight in Hangzhou, show the recognitions of the new day. Raises Unavailable."""
        registry.turn_cards(self.engine, now=_clock())

    def partitions_once(self) -> None:
        """Have the partitions that this month's and the next month's scans go to. Raises Unavailable."""
        scans.ensure_partitions(self.engine, today(_clock()))

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a batch under way stops after its current chunk and is gone on with later."""
        steps: tuple[tuple[Callable[[], object], float], ...] = (
            (self.partitions_once, PARTITION_SECONDS),
            (self.project_once, PROJECT_SECONDS),
            (self.drain_all, DRAIN_SECONDS),
            (self.sweep_once, SWEEP_SECONDS),
            (self.turn_once, TURN_SECONDS),
        )
        threads = [threading.Thread(target=self.repeat, args=step, name=step[0].__name__) for step in steps]
        for thread in threads:
            thread.start()
        try:
            asyncio.run(self._issue())
        finally:
            self.stop.set()
            for thread in threads:
                thread.join()

    def repeat(self, step: Callable[[], object], seconds: float) -> None:
        """Take a step every so many seconds until `stop`. Trouble is logged when it begins and when it is over."""
        troubled = ""
        while not self.stop.is_set():
            try:
                step()
            except Unavailable as error:
                if troubled != error.text.en:
                    _logger.warning("%s waits", step.__name__, extra={"reason": error.text.en})
                troubled = error.text.en
            except Exception:
                _logger.exception("%s failed and is tried again", step.__name__)
                self.stop.wait(RECONNECT_SECONDS)
            else:
                if troubled:
                    _logger.info("%s goes on", step.__name__)
                troubled = ""
            self.stop.wait(seconds)

    async def _issue(self) -> None:
        """Take jobs from the queue, through restarts of PostgreSQL, until `stop`."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def end() -> None:
            self.stop.set()
            stopped.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, end)
        while not stopped.is_set():
            try:
                await self._take_jobs(stopped)
            except ConnectorException:
                _logger.warning("the job queue cannot be reached; trying again")
            except Exception:
                # A frozen PostgreSQL shows in whatever the pool, the listener or the queue was just doing. Nothing that
                # happens to the queue may end the worker: it also copies cards and drains scans.
                _logger.exception("the job queue failed; trying again")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), RECONNECT_SECONDS)

    async def _take_jobs(self, stopped: asyncio.Event) -> None:
        app = job_app(self.database, self.issue_once)
        async with app.open_async():
            work = app.run_worker_async(
                queues=[jobs.QUEUE], concurrency=BATCHES_AT_ONCE, install_signal_handlers=False, delete_jobs="always"
            )
            tasks = {asyncio.create_task(work), asyncio.create_task(stopped.wait())}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks - done:
                task.cancel()  # Procrastinate then waits for the jobs under way, which see `stop`
            await asyncio.gather(*tasks, return_exceptions=True)


def job_app(database: str, issue: Callable[[int], None]) -> App:
    """The job queue with the one task there is."""
    app = App(connector=PsycopgConnector(conninfo=database, min_size=1, max_size=4, timeout=3))

    @app.task(name=jobs.TASK, queue=jobs.QUEUE)
    def issue_batch(number: int) -> None:
        issue(number)

    return app


def main(settings: Settings) -> None:
    """Run a worker with these settings until it is told to stop. Without addresses those of the running demo are meant."""
    running = Servers(settings.home).addresses
    database, cache = settings.database_url or running.database, settings.redis_url or running.redis
    with ExitStack() as stack:
        engine = connect(database)
        stack.callback(engine.dispose)
        redis = projection.connect(cache)
        stack.callback(redis.close)
        stream = scans.connect(cache)
        stack.callback(stream.close)
        signer = stack.enter_context(SignerClient(settings.signer_socket))
        queue = stack.enter_context(jobs.IssueQueue(database))
        Worker(database, engine, redis, stream, signer, queue, settings.export_dir).run()


def _clock() -> datetime:
    return datetime.now(UTC)
