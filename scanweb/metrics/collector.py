"""The metrics of a scan process, made from numbers that it keeps anyway.

A scan pays nothing for them. A snapshot is taken on the event loop, where all these numbers are written; that takes some
microseconds. The rest runs in the thread of the scrape.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from scanweb.metrics.loop_lag import LoopLag
from scanweb.metrics.meters import BOUNDS, ScanCounters
from zpcode.telemetry.metrics import counters, gauges
from zpcode.wire.verdict import Verdict

SOURCES: Final = ("redis", "database", "nowhere")
ANSWER_SECONDS: Final = 1.0
_UPPER_BOUNDS: Final = (*map(str, BOUNDS), "+Inf")


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All numbers of one moment: the process's health, a copy of its counters, the event loop's delay in seconds.

    `times` has the number of answers in each bucket of `BOUNDS`, not summed up; `seconds` is the sum of their times.
    """

    health: Mapping[str, Any]
    answers: Mapping[str, int]
    times: tuple[int, ...]
    seconds: float
    errors: int
    refused: int
    unrecorded: int
    lag: float


class ScanCollector(Collector):
    """Takes a snapshot on the event loop and makes metrics of it. `limit` is the greatest length of the stream."""

    def __init__(
        self, health: Callable[[], Mapping[str, Any]], meters: ScanCounters, loop_lag: LoopLag, limit: int
    ) -> None:
        self._health, self._meters, self._loop_lag, self._limit = health, meters, loop_lag, limit
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Use the event loop that runs now."""
        self._loop = asyncio.get_running_loop()

    def collect(self) -> Iterator[Metric]:
        """All metrics; if the event loop does not answer within a second, only that it does not."""
        snapshot = self._from_loop()
        meaning = "1 if the event loop answered within a second."
        yield GaugeMetricFamily("zpcode_scan_loop_answers", meaning, int(snapshot is not None))
        if snapshot is not None:
            yield from of_answers(snapshot)
            yield from _of_sources(snapshot.health)
            yield from _of_projection(snapshot.health)
            yield from _of_scans(snapshot.health["scans"], self._limit)
            yield from _of_keyring(snapshot.health["keyring"])

    def readiness(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether the process is ready, and the details, which only the private port tells."""
        snapshot = self._from_loop()
        if snapshot is None:
            return False, {"ready": False, "loop": "no answer within a second"}
        return snapshot.health["ready"], snapshot.health

    def snapshot(self) -> MetricsSnapshot:
        """All numbers now. Call it on the event loop only."""
        meters, times = self._meters, self._meters.seconds
        return MetricsSnapshot(
            self._health(),
            dict(meters.answers),
            tuple(times.counts),
            times.total,
            meters.errors,
            meters.refused,
            meters.unrecorded,
            self._loop_lag.seconds,
        )

    def _from_loop(self) -> MetricsSnapshot | None:
        """A snapshot, asked for in another thread than the event loop's; None if it does not come in time."""
        answer: concurrent.futures.Future[MetricsSnapshot] = concurrent.futures.Future()

        def take() -> None:
            try:
                answer.set_result(self.snapshot())
            except Exception as error:  # noqa: BLE001 - raised in the thread that waits for the answer
                answer.set_exception(error)

        if self._loop is None or self._loop.is_closed():
            return None
        self._loop.call_soon_threadsafe(take)
        try:
            return answer.result(ANSWER_SECONDS)
        except concurrent.futures.TimeoutError:
            return None


def of_answers(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    """Answers by verdict, their times, and the event loop's delay."""
    verdicts = {verdict.value: snapshot.answers.get(verdict, 0) for verdict in Verdict}
    yield counters("zpcode_scan_answers_total", "Answers by verdict.", "verdict", verdicts)
    yield HistogramMetricFamily(
        "zpcode_scan_answer_seconds",
        "Time from request to answer, including the minimum time of a not-verified answer (histogram).",
        buckets=list(zip(_UPPER_BOUNDS, accumulate(snapshot.times), strict=True)),
        sum_value=snapshot.seconds,
    )
    yield CounterMetricFamily("zpcode_scan_errors_total", "Answers of status 500.", snapshot.errors)
    yield CounterMetricFamily("zpcode_scan_refused_total", "Answers of status 429.", snapshot.refused)
    meaning = "Scans not recorded: their network has used up its limit of the day."
    yield CounterMetricFamily("zpcode_scan_unrecorded_total", meaning, snapshot.unrecorded)
    meaning = "Longest delay of the event loop in the last half minute."
    yield GaugeMetricFamily("zpcode_scan_loop_lag_seconds", meaning, snapshot.lag)


def _of_sources(health: Mapping[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("zpcode_scan_ready", "1 if the status of a code can be confirmed.", health["ready"])
    sources = {source: int(health["answers_from"] == source) for source in SOURCES}
    yield gauges(
        "zpcode_scan_answers_from", "1 for the source of the answers: redis, database or nowhere.", "place", sources
    )
    yield GaugeMetricFamily("zpcode_scan_database_up", "1 if the scan view answers.", health["database"] == "up")
    for name, meaning, number in (
        (
            "zpcode_scan_redis_round_trips_total",
            "Round trips to Redis, including those of the comparison.",
            "redis_round_trips",
        ),
        (
            "zpcode_scan_database_queries_total",
            "Queries of the scan view, including those of the comparison.",
            "database_queries",
        ),
        (
            "zpcode_scan_database_joined_total",
            "Reads that shared a running query for the same card.",
            "database_joined",
        ),
        ("zpcode_scan_watch_looks_total", "Comparisons of Redis with the database.", "looks"),
    ):
        yield CounterMetricFamily(name, meaning, health[number])


def _of_projection(health: Mapping[str, Any]) -> Iterator[Metric]:
    projection = health["projection"]
    meaning = "Revision of the projection that this process has."
    yield GaugeMetricFamily("zpcode_scan_projection_revision", meaning, projection["revision"])
    meaning = "Generation of the projection that this process has."
    yield gauges("zpcode_scan_projection_info", meaning, "generation", {projection["generation"] or "none": 1})
    yield GaugeMetricFamily("zpcode_scan_cards", "Cards in memory.", health["cards_in_memory"])


def _of_scans(scans: Mapping[str, int], limit: int) -> Iterator[Metric]:
    yield GaugeMetricFamily("zpcode_scan_events_waiting", "Scans in memory that wait for the stream.", scans["waiting"])
    yield CounterMetricFamily("zpcode_scan_events_sent_total", "Scans sent to the stream.", scans["sent"])
    meaning = "Scans dropped: they are never counted."
    yield CounterMetricFamily("zpcode_scan_events_dropped_total", meaning, scans["dropped"])
    yield GaugeMetricFamily(
        "zpcode_scan_stream_limit", "Entries of scans in Redis above which scans wait in the processes.", limit
    )


def _of_keyring(keyring: Mapping[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("zpcode_scan_keyring_serial", "Serial of the keyring in force.", keyring["serial"])
    meaning = "When the root key signed the keyring in force."
    yield GaugeMetricFamily("zpcode_scan_keyring_issued_timestamp_seconds", meaning, keyring["issued"])
    meaning = "When the current signing key ends; 0 if there is none."
    yield GaugeMetricFamily("zpcode_scan_signing_key_until_timestamp_seconds", meaning, keyring["signs_until"])
    meaning = "1 if the keyring file cannot be trusted."
    yield GaugeMetricFamily("zpcode_scan_keyring_problem", meaning, keyring["problem"])
