"""The worker: issues batches, copies cards from the database to Redis, drains scans. A composition root.

A worker may be stopped, killed or run twice at any time, because nothing depends on one turn of one worker: the service
that commits a revocation writes it to Redis itself, each worker queues reserved batches without a job every five seconds,
and a scan stays in its stream until it is in the database.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from opentelemetry.trace import Tracer
from procrastinate.exceptions import ConnectorException
from prometheus_client import CollectorRegistry

from keys.client import SignerClient, SigningService
from zpcode.embedded.servers import Servers
from zpcode.errors import Conflict, ForeignFile, LostFile, NotFound, SignerError, Text, Unavailable
from zpcode.projection import client, projector, salts
from zpcode.projection.client import AnyRedis
from zpcode.projection.comparison import SLICE_SECONDS, ProjectionComparison
from zpcode.projection.head_keys import HeadKeys
from zpcode.projection.heads import refusal
from zpcode.services import complaints, notices, scans
from zpcode.services.audit_heads import Countersigner, HeadFile
from zpcode.services.batches import file_keys, retention
from zpcode.services.batches import queue as issue_queue
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue
from zpcode.services.continuity import witnesses
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.continuity.witnesses import FilesWitness, RedisWitness, SignerWitness
from zpcode.services.monitoring.statistics import InstallationStatistics
from zpcode.services.registry import product_cards
from zpcode.settings import AuthoritySettings
from zpcode.store import batches
from zpcode.store.database.session import Engine, connect, transaction
from zpcode.store.database.tracing import trace
from zpcode.store.monitoring import jobs
from zpcode.store.monitoring.worker_slots import WorkerSlot
from zpcode.telemetry import exposition, logs, metrics, tracing
from zpcode.telemetry.exposition import Exposition
from zpcode.telemetry.worker_counters import WorkerCounters
from zpcode.telemetry.worker_loops import WorkerLoops
from zpcode.wire import redis_keys
from zpcode.wire.calendar import today

PROJECT_SECONDS: Final = 0.25
WITNESS_SECONDS: Final = 1.0
DRAIN_SECONDS: Final = 0.25
REQUEUE_SECONDS: Final = 5.0
TURN_SECONDS: Final = 5.0
SALT_SECONDS: Final = 10.0
PARTITION_SECONDS: Final = 3600.0
FORGET_SECONDS: Final = 60.0
RETENTION_SECONDS: Final = 60.0
COUNTERSIGN_LOOP_SECONDS: Final = 10.0
STATISTICS_SECONDS: Final = 1.0
SIGNER_STATISTICS_SECONDS: Final = 5.0
SIGNER_SECONDS: Final = 2.0
RECONNECT_SECONDS: Final = 2.0
FETCH_SECONDS: Final = 0.5
"""How often an idle worker asks for a job: so long an order waits at most before its first code."""
BATCHES_AT_ONCE: Final = 2
REQUEUED_AT_ONCE: Final = 100
_logger = logging.getLogger(__name__)


@dataclass
class Worker:
    """One worker process.

    `redis` writes cards, `stream` drains scans: two connections, because their timeouts differ. `gate` compares the database
    with what others have from it; a database that is behind stops issuing and projecting. `comparison` finds cards
    that Redis has lost. `statistics` reads the state of the installation for Prometheus. `countersigner` has the audit log
    countersigned. `tracer` records a span of each turn. `stop` ends every loop. A code file is removed after `code_file_days`;
    0: never.
    """

    database: str
    engine: Engine
    redis: AnyRedis
    stream: AnyRedis
    signer: SigningService
    queue: issue_queue.IssueQueue
    exports: CodeFolder
    stop: threading.Event = field(default_factory=threading.Event)
    gate: ContinuityGate | None = None
    comparison: ProjectionComparison | None = None
    statistics: InstallationStatistics | None = None
    countersigner: Countersigner | None = None
    loops: WorkerLoops = field(default_factory=lambda: WorkerLoops(time.monotonic))
    tracer: Tracer = tracing.OFF
    code_file_days: int = 0
    partitioned: bool = False  # whether this process has made the partitions
    slot: WorkerSlot = field(init=False)
    registry: CollectorRegistry = field(init=False)
    counters: WorkerCounters = field(init=False)

    def __post_init__(self) -> None:
        self.slot = WorkerSlot(self.engine)
        self.registry = metrics.registry("worker", self.loops)
        self.counters = WorkerCounters(self.registry)
        if self.statistics is not None:
            self.registry.register(self.statistics)

    def issue_once(self, number: int) -> None:
        """Issue one batch and write its cards to Redis. If a server does not answer, `requeue_once` queues the batch again."""
        try:
            batch = issue(self.engine, self.signer, number, folder=self.exports, clock=_clock, stop=self.stop)
        except (ForeignFile, LostFile, NotFound, SignerError, Unavailable) as error:
            self.counters.batch("waits")
            _logger.warning("batch waits", extra={"batch": number, "reason": error.text.en})
            return
        except Conflict:
            self.counters.batch("busy")
            return  # another worker issues it
        self.counters.batch("issued")
        _logger.info("batch is %s", batch.state.value, extra={"batch": number, "codes": batch.codes})
        with suppress(Unavailable):
            self.project_once()

    def project_once(self) -> int:
        """Write the cards to Redis that it does not have yet; returns its revision then. Raises Unavailable."""
        return projector.catch_up(self.engine, self.redis)

    def drain_once(self) -> int:
        """Move a few thousand entries of scans into PostgreSQL; returns how many. Raises Unavailable.

        The consumer is named after this worker's slot. Entries that a killed worker has read and not finished belong to
        its slot, and the next worker on that slot finishes them at once.
        """
        stream = client.holder(self.stream, redis_keys.SCANS)
        consumer = f"worker-{self.slot.number()}"
        done = scans.drain(self.engine, stream, consumer=consumer, refuse=self.counters.refuse, day=today(_clock()))
        self.counters.drained.inc(done)
        return done

    def drain_all(self) -> None:
        """Drain until inbox and stream are empty. Raises Unavailable."""
        # Make the partition first: once the default partition has scans of a month, PostgreSQL cannot add that month's
        # partition.
        if not self.partitioned:
            self.partitions_once()
        while not self.stop.is_set() and self.drain_once() > 0:
            self.loops.progress("drain_all")

    def requeue_once(self) -> int:
        """Queue the reserved batches without a worker; returns how many there are. Raises Unavailable.

        A batch is without a worker if a process died between the reservation and the job, or during the job.
        """
        with transaction(self.engine) as connection:
            if cleared := jobs.clear_abandoned(connection):
                _logger.warning("jobs of workers that are gone were cleared", extra={"jobs": cleared})
            numbers = batches.waiting(connection, REQUEUED_AT_ONCE)
        if not all(self.queue.defer_issue(number) for number in numbers):
            raise Unavailable(Text("任务队列暂时无法访问", "the job queue cannot be reached"))
        return len(numbers)

    def turn_once(self) -> None:
        """After midnight in Shanghai, renew the cards whose recognitions begin or end that day. Raises Unavailable.

        It also makes the card of public notices in a database of an older version.
        """
        product_cards.turn_cards(self.engine, now=_clock())
        notices.begin(self.engine)

    def salts_once(self) -> None:
        """Make the visitor salts of today and tomorrow where Redis does not have them. Raises Unavailable."""
        salts.provide(self.redis, _clock().timestamp(), secrets.token_bytes)

    def witness_once(self) -> None:
        """Compare the database with every witness, also while nothing is written. Raises Unavailable, DatabaseBehind."""
        if self.gate is not None and (evidence := self.gate.compare()):
            self.partitioned = False  # a restored database may lack the partitions of this month and the next
            raise refusal(evidence)

    def compare_once(self) -> None:
        """Compare one slice of Redis with the database and repair what differs. Raises Unavailable."""
        if self.comparison is not None:
            self.comparison.step()

    def partitions_once(self) -> None:
        """Make the partitions of scans of this month and the next. Raises Unavailable."""
        scans.ensure_partitions(self.engine, today(_clock()))
        self.partitioned = True

    def countersign_once(self) -> None:
        """Let the signer countersign the head of the audit log if that is due. Raises Unavailable, also if the signer refuses."""
        if self.countersigner is not None:
            self.countersigner.step()

    def forget_once(self) -> None:
        """Delete contacts and photos of complaints that were closed more than 180 days ago. Raises Unavailable."""
        contacts, photos = complaints.forget(self.engine, _clock())
        if contacts or photos:
            _logger.info("ended complaints were forgotten", extra={"contacts": contacts, "photos": photos})

    def remove_files_once(self) -> None:
        """Remove the code files whose time is over; before that, keep what a key that ends could not sign again.

        Raises Unavailable.
        """
        retention.archive_ending(
            self.engine, self.signer, self.exports, _clock(), report=self._removing, stop=self.stop
        )
        removed = retention.remove_files(self.engine, self.signer, self.exports, self.code_file_days, _clock())
        if removed:
            _logger.info("code files were removed after their time", extra={"files": removed})

    def _removing(self, _: int) -> None:
        self.loops.progress("remove_files_once")

    def run(self) -> None:
        """Work until SIGTERM or SIGINT. A batch that is being issued stops after its current chunk; a later run continues it."""
        steps: tuple[tuple[Callable[[], object], float], ...] = (
            (self.partitions_once, PARTITION_SECONDS),
            (self.witness_once, WITNESS_SECONDS),
            (self.project_once, PROJECT_SECONDS),
            (self.drain_all, DRAIN_SECONDS),
            (self.requeue_once, REQUEUE_SECONDS),
            (self.turn_once, TURN_SECONDS),
            (self.salts_once, SALT_SECONDS),
            (self.compare_once, SLICE_SECONDS),
            (self.forget_once, FORGET_SECONDS),
            (self.remove_files_once, RETENTION_SECONDS),
            (self.countersign_once, COUNTERSIGN_LOOP_SECONDS),
            *self._statistics_steps(),
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
            self.slot.leave()

    def _statistics_steps(self) -> tuple[tuple[Callable[[], object], float], ...]:
        """One loop for each part of the installation, so that a part that hangs hides no other."""
        if self.statistics is None:
            return ()
        return (
            (self.statistics.read_database, STATISTICS_SECONDS),
            (self.statistics.read_redis, STATISTICS_SECONDS),
            (self.statistics.read_signer, SIGNER_STATISTICS_SECONDS),
        )

    def pages(self) -> exposition.Pages:
        """The pages of this worker's port: metrics and health."""
        return {
            exposition.METRICS: exposition.of_metrics(self.registry),
            exposition.HEALTHZ: exposition.of_state(self.loops.alive),
            exposition.READYZ: exposition.of_state(self.loops.ready),
        }

    def repeat(self, step: Callable[[], object], seconds: float) -> None:
        """Take a step every so many seconds until `stop`. An outage is logged when it begins and when it ends."""
        outage = ""
        loop = self.loops.add(step.__name__, seconds)
        while not self.stop.is_set():
            outcome = "done"
            try:
                with tracing.span(self.tracer, step.__name__):
                    step()
            except Unavailable as error:
                outcome = "waits"
                if outage != error.text.en:
                    _logger.warning("%s waits", step.__name__, extra={"reason": error.text.en})
                outage = error.text.en
            except Exception:
                outcome = "failed"
                _logger.exception("%s failed and is tried again", step.__name__)
            else:
                if outage:
                    _logger.info("%s works again", step.__name__)
                outage = ""
            loop.turn(outcome)
            self.stop.wait(max(seconds, RECONNECT_SECONDS) if outcome == "failed" else seconds)

    async def _issue(self) -> None:
        """Take jobs from the queue, through restarts of PostgreSQL, until `stop`."""
        stopped = asyncio.Event()

        def end() -> None:
            self.stop.set()
            stopped.set()

        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, end)
        while not stopped.is_set():
            try:
                await self._take_jobs(stopped)
            except ConnectorException:
                _logger.warning("the job queue cannot be reached; trying again")
            except Exception:
                # A frozen PostgreSQL can raise any error of the pool, the listener or the queue. None of them may end
                # the worker: it also copies cards and drains scans.
                _logger.exception("the job queue failed; trying again")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), RECONNECT_SECONDS)

    async def _take_jobs(self, stopped: asyncio.Event) -> None:
        app = issue_queue.job_app(self.database, self.issue_once)
        async with app.open_async():
            work = app.run_worker_async(
                queues=[issue_queue.QUEUE],
                concurrency=BATCHES_AT_ONCE,
                install_signal_handlers=False,
                delete_jobs="always",
                # Every role may send NOTIFY: a payload that is no JSON ends the listener.
                listen_notify=False,
                fetch_job_polling_interval=FETCH_SECONDS,
            )
            tasks = {asyncio.create_task(work), asyncio.create_task(stopped.wait())}
            self.counters.queue_open.set(1)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.counters.queue_open.set(0)
            for task in tasks - done:
                task.cancel()  # Procrastinate then waits for the jobs under way, which see `stop`
            await asyncio.gather(*tasks, return_exceptions=True)


def main(settings: AuthoritySettings) -> None:
    """Run a worker with these settings until a signal stops it. Empty addresses mean those of the running demo."""
    logs.configure("worker", level=settings.log_level)
    with ExitStack() as stack:
        worker = _connected(settings, stack)
        stack.enter_context(Exposition(settings.metrics_address, worker.pages()))
        worker.run()


def _connected(settings: AuthoritySettings, resources: ExitStack) -> Worker:
    """A worker on the servers of these settings. `resources` closes all its connections."""
    database = settings.database_url or Servers(settings.home).addresses.database
    traces = tracing.start("worker", settings.traces, settings.trace_ratio)
    resources.callback(traces.close)
    engine = connect(database)
    resources.callback(engine.dispose)
    trace(engine, traces.tracer)
    redis, stream = _redis(settings, resources)
    statistics_signer = resources.enter_context(SignerClient(settings.signer_socket, timeout=SIGNER_SECONDS))
    witness = SignerWitness(
        resources.enter_context(SignerClient(settings.signer_socket, timeout=witnesses.WITNESS_SECONDS))
    )
    gate = ContinuityGate(engine, [RedisWitness(redis), FilesWitness(settings.export_dir, settings.file_key), witness])
    gate.install()
    keys = HeadKeys(partial(file_keys.secrets_of, settings.file_key))
    keys.install(engine)
    comparison = ProjectionComparison(engine, redis, settings.comparison_seconds)
    return Worker(
        database,
        engine,
        redis,
        stream,
        resources.enter_context(SignerClient(settings.signer_socket)),
        resources.enter_context(issue_queue.IssueQueue(database)),
        CodeFolder(settings.export_dir, settings.file_key),
        gate=gate,
        comparison=comparison,
        statistics=InstallationStatistics(engine, redis, statistics_signer, comparison, gate, keys),
        countersigner=Countersigner(engine, statistics_signer, HeadFile(settings.audit_heads)),
        tracer=traces.tracer,
        code_file_days=settings.code_file_days,
    )


def _redis(settings: AuthoritySettings, resources: ExitStack) -> tuple[AnyRedis, AnyRedis]:
    """Two clients: one writes cards, the other drains scans and waits longer for a reply."""
    address = settings.redis_url or Servers(settings.home).addresses.redis
    cards, stream = client.connect(address), client.connect(address, seconds=scans.TIMEOUT_SECONDS)
    resources.callback(cards.close)
    resources.callback(stream.close)
    return cards, stream


def _clock() -> datetime:
    return datetime.now(UTC)
