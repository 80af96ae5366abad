"""The worker: issues batches, keeps Redis up with the database, drains scans. A composition root.

Everything it does, someone else has done already or will do again: a revocation reaches Redis at its
commit, a reserved batch is found by the sweep, a scan stays in its stream. So it may be stopped, killed
or run twice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from opentelemetry.trace import Tracer
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from keys.client import SignerClient, SigningService
from zpcode.embedded.servers import Servers
from zpcode.errors import Conflict, SignerError, Text, Unavailable
from zpcode.projection import client, comparison, projector
from zpcode.projection.client import AnyRedis
from zpcode.projection.comparison import ProjectionComparison
from zpcode.services import complaints, notices, scans
from zpcode.services.batches import queue as issue_queue
from zpcode.services.batches.issue import issue
from zpcode.services.monitoring.statistics import InstallationStatistics
from zpcode.services.registry import product_cards
from zpcode.settings import AuthoritySettings
from zpcode.store import batches, jobs
from zpcode.store.database.session import Engine, connect, transaction
from zpcode.store.database.tracing import trace
from zpcode.store.monitoring.worker_slots import WorkerSlot
from zpcode.telemetry import exposition, logs, metrics, tracing
from zpcode.telemetry.exposition import Exposition
from zpcode.telemetry.metrics import Family, Measure
from zpcode.telemetry.worker_loops import WorkerLoops
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today

PROJECT_SECONDS: Final = 0.25
DRAIN_SECONDS: Final = 0.25
SWEEP_SECONDS: Final = 5.0
TURN_SECONDS: Final = 5.0
PARTITION_SECONDS: Final = 3600.0
FORGET_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 1.0
SIGNER_LOOK_SECONDS: Final = 5.0
SIGNER_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 2.0
BATCHES_AT_ONCE: Final = 2
SWEPT_AT_ONCE: Final = 100
_logger = logging.getLogger(__name__)
DRAINED: Final = Family("zpcode_worker_stream_entries_drained_total", "Entries of the stream of scans this worker is done with.", "counter")  # fmt: skip
ISSUED: Final = Family("zpcode_worker_batches_total", "Batches this worker was asked to issue.", "counter", ("outcome",))  # fmt: skip
QUEUE: Final = Family("zpcode_worker_queue_open", "1 while this worker takes jobs from the queue.")


@dataclass
class Worker:
    """One worker process. `redis` copies cards, `stream` drains scans; `stop` ends everything it does.

    `comparison` looks whether Redis has lost anything, `survey` is what it tells of the installation, `beats` of its own loops; `tracer` records a span of each turn.
    """

    database: str
    engine: Engine
    redis: AnyRedis
    stream: AnyRedis
    signer: SigningService
    queue: issue_queue.IssueQueue
    directory: Path
    stop: threading.Event = field(default_factory=threading.Event)
    comparison: ProjectionComparison | None = None
    survey: InstallationStatistics | None = None
    beats: WorkerLoops = field(default_factory=lambda: WorkerLoops(time.monotonic))
    tracer: Tracer = tracing.OFF
    drained: int = 0
    partitioned: bool = False  # whether this process has seen to the partitions
    issued: dict[str, int] = field(default_factory=lambda: {"issued": 0, "waits": 0, "busy": 0})
    queue_open: bool = False
    seat: WorkerSlot = field(init=False)

    def __post_init__(self) -> None:
        self.seat = WorkerSlot(self.engine)

    def issue_once(self, number: int) -> None:
        """Issue one batch and show it to the scan service; what cannot be done now is tried again by the sweep."""
        try:
            batch = issue(self.engine, self.signer, number, directory=self.directory, clock=_clock, stop=self.stop)
        except Conflict:
            self.issued["busy"] += 1
            return  # someone else is at it
        except (SignerError, Unavailable) as error:
            self.issued["waits"] += 1
            _logger.warning("batch waits", extra={"batch": number, "reason": error.text.en})
            return
        self.issued["issued"] += 1
        _logger.info("batch is %s", batch.state.value, extra={"batch": number, "codes": batch.codes})
        with suppress(Unavailable):
            self.project_once()

    def project_once(self) -> int:
        """Copy the cards that Redis has not got yet. Raises Unavailable."""
        return projector.catch_up(self.engine, self.redis)

    def drain_once(self) -> int:
        """Move up to a hundred entries of scans into PostgreSQL; returns how many are done with. Raises Unavailable.

        Under the name of this worker's seat: what a killed one left, the next on its seat finishes at once.
        """
        stream = client.holder(self.stream, redis_keys.SCANS)
        done = scans.drain(self.engine, stream, consumer=f"worker-{self.seat.number()}", now=_clock())
        self.drained += done
        return done

    def drain_all(self) -> None:
        """Drain until the stream is empty. Raises Unavailable."""
        if not self.partitioned:  # what lands in the default partition keeps its month from getting one of its own
            self.partitions_once()
        while not self.stop.is_set() and self.drain_once() > 0:
            self.beats.goes_on("drain_all")

    def sweep_once(self) -> int:
        """Queue the reserved batches that nobody is issuing; returns how many there are. Raises Unavailable.

        This is what finds a batch whose process died between its reservation and its job, or at the job.
        """
        with transaction(self.engine) as connection:
            if cleared := jobs.clear_abandoned(connection):
                _logger.warning("jobs of workers that are gone were cleared", extra={"jobs": cleared})
            numbers = batches.waiting(connection, SWEPT_AT_ONCE)
        if not all(self.queue.defer_issue(number) for number in numbers):
            raise Unavailable(Text("任务队列暂时无法访问", "the job queue cannot be reached"))
        return len(numbers)

    def turn_once(self) -> None:
        """At midnight in Hangzhou, show the recognitions of the new day. Raises Unavailable.

        And see that a database from before there was a card of public notices gets one.
        """
        product_cards.turn_cards(self.engine, now=_clock())
        notices.begin(self.engine)

    def compare_once(self) -> None:
        """Compare one slice of Redis with the database and put right what is wrong. Raises Unavailable."""
        if self.comparison is not None:
            self.comparison.step()

    def partitions_once(self) -> None:
        """Have the partitions that this month's and the next month's scans go to. Raises Unavailable."""
        scans.ensure_partitions(self.engine, today(_clock()))
        self.partitioned = True

    def forget_once(self) -> None:
        """Delete contacts and photos of complaints that ended 180 days ago. Raises Unavailable."""
        contacts, photos = complaints.forget(self.engine, _clock())
        if contacts or photos:
            _logger.info("ended complaints were forgotten", extra={"contacts": contacts, "photos": photos})

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; a batch under way stops after its current chunk and is gone on with later."""
        steps: tuple[tuple[Callable[[], object], float], ...] = (
            (self.partitions_once, PARTITION_SECONDS),
            (self.project_once, PROJECT_SECONDS),
            (self.drain_all, DRAIN_SECONDS),
            (self.sweep_once, SWEEP_SECONDS),
            (self.turn_once, TURN_SECONDS),
            (self.compare_once, comparison.SLICE_SECONDS),
            (self.forget_once, FORGET_SECONDS),
            *self._looks(),
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
            self.seat.leave()

    def _looks(self) -> tuple[tuple[Callable[[], object], float], ...]:
        """How the installation stands: one loop for each part, so that one that hangs hides no other."""
        if self.survey is None:
            return ()
        return (
            (self.survey.look_at_database, LOOK_SECONDS),
            (self.survey.look_at_redis, LOOK_SECONDS),
            (self.survey.look_at_signer, SIGNER_LOOK_SECONDS),
        )

    def measures(self) -> list[Measure]:
        """What Prometheus hears of this worker and, through it, of the installation."""
        found = [*self.beats.measures(), Measure(DRAINED, self.drained), Measure(QUEUE, int(self.queue_open))]
        found += [Measure(ISSUED, number, (outcome,)) for outcome, number in self.issued.items()]
        return found + (self.survey.measures() if self.survey is not None else [])

    def pages(self) -> exposition.Pages:
        """What whoever watches this worker may ask for."""
        return {
            exposition.METRICS: exposition.of_metrics(metrics.registry("worker", self.measures)),
            exposition.HEALTHZ: exposition.of_state(self.beats.alive),
            exposition.READYZ: exposition.of_state(self.beats.ready),
        }

    def repeat(self, step: Callable[[], object], seconds: float) -> None:
        """Take a step every so many seconds until `stop`. Trouble is logged when it begins and when it is over."""
        troubled = ""
        beat = self.beats.of(step.__name__, seconds)
        while not self.stop.is_set():
            outcome = "done"
            try:
                with tracing.span(self.tracer, step.__name__):
                    step()
            except Unavailable as error:
                outcome = "waits"
                if troubled != error.text.en:
                    _logger.warning("%s waits", step.__name__, extra={"reason": error.text.en})
                troubled = error.text.en
            except Exception:
                outcome = "failed"
                _logger.exception("%s failed and is tried again", step.__name__)
            else:
                if troubled:
                    _logger.info("%s goes on", step.__name__)
                troubled = ""
            beat.turn(outcome)
            self.stop.wait(max(seconds, RECONNECT_SECONDS) if outcome == "failed" else seconds)

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
                queues=[issue_queue.QUEUE],
                concurrency=BATCHES_AT_ONCE,
                install_signal_handlers=False,
                delete_jobs="always",
            )
            tasks = {asyncio.create_task(work), asyncio.create_task(stopped.wait())}
            self.queue_open = True
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.queue_open = False
            for task in tasks - done:
                task.cancel()  # Procrastinate then waits for the jobs under way, which see `stop`
            await asyncio.gather(*tasks, return_exceptions=True)


def job_app(database: str, issue_once: Callable[[int], None]) -> App:
    """The job queue with the one task there is."""
    app = App(connector=PsycopgConnector(conninfo=database, min_size=1, max_size=4, timeout=3))

    @app.task(name=issue_queue.TASK, queue=issue_queue.QUEUE)
    def issue_batch(number: int) -> None:
        issue_once(number)

    return app


def main(settings: AuthoritySettings) -> None:
    """Run a worker with these settings until it is told to stop. Without addresses those of the running demo are meant."""
    logs.configure("worker", level=settings.log_level)
    database = settings.database_url or Servers(settings.home).addresses.database
    cache = settings.redis_url or Servers(settings.home).addresses.redis
    with ExitStack() as stack:
        traces = tracing.start("worker", settings.traces, settings.trace_ratio)
        stack.callback(traces.close)
        engine = connect(database)
        stack.callback(engine.dispose)
        trace(engine, traces.tracer)
        redis = client.connect(cache)
        stack.callback(redis.close)
        stream = client.connect(cache, seconds=scans.TIMEOUT_SECONDS)
        stack.callback(stream.close)
        signer = stack.enter_context(SignerClient(settings.signer_socket))
        queue = stack.enter_context(issue_queue.IssueQueue(database))
        asked = stack.enter_context(SignerClient(settings.signer_socket, timeout=SIGNER_SECONDS))
        worker = Worker(
            database,
            engine,
            redis,
            stream,
            signer,
            queue,
            settings.export_dir,
            comparison=(compared := ProjectionComparison(engine, redis, settings.comparison_seconds)),
            survey=InstallationStatistics(engine, redis, asked, compared),
            tracer=traces.tracer,
        )
        stack.enter_context(Exposition(settings.metrics_address, worker.pages()))
        worker.run()


def _clock() -> datetime:
    return datetime.now(UTC)
