"""What a scan process tells Prometheus of itself: read out of numbers that it keeps anyway.

A scan pays for none of this. `look` runs on the event loop, where all those numbers are written, and takes some
microseconds; everything else happens in the thread of whoever asks.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from scanweb.metrics.meters import BOUNDS, ScanCounters
from zpcode.telemetry.metrics import Family, Measure, Spread
from zpcode.wire.verdict import Verdict

ANSWERS: Final = Family("zpcode_scan_answers_total", "Answers by verdict.", "counter", ("verdict",))
SECONDS: Final = Family("zpcode_scan_answer_seconds", "Time from request to answer, floor of refusals included.", "histogram")  # fmt: skip
ERRORS: Final = Family("zpcode_scan_errors_total", "Answers of status 500.", "counter")
REFUSED: Final = Family("zpcode_scan_refused_total", "Answers of status 429.", "counter")
READY: Final = Family("zpcode_scan_ready", "1 where the status of a code can be confirmed.")
ANSWERS_FROM: Final = Family("zpcode_scan_answers_from", "1 at the place answers come from now.", "gauge", ("place",))
DATABASE_UP: Final = Family("zpcode_scan_database_up", "1 where the scan view answers.")
TRIPS: Final = Family("zpcode_scan_redis_round_trips_total", "Round trips to Redis, the watch's included.", "counter")
QUERIES: Final = Family("zpcode_scan_database_queries_total", "Queries of the scan view, the watch's included.", "counter")  # fmt: skip
JOINED: Final = Family(
    "zpcode_scan_database_joined_total", "Reads that joined one of the same card under way.", "counter"
)
LOOKS: Final = Family("zpcode_scan_watch_looks_total", "Comparisons of Redis with the database.", "counter")
WAITING: Final = Family("zpcode_scan_events_waiting", "Scans in memory on their way to the stream.")
SENT: Final = Family("zpcode_scan_events_sent_total", "Scans the stream has taken.", "counter")
DROPPED: Final = Family("zpcode_scan_events_dropped_total", "Scans that will be counted nowhere.", "counter")
STREAM_LIMIT: Final = Family("zpcode_scan_stream_limit", "Length at which the stream loses its oldest scans.")
REVISION: Final = Family("zpcode_scan_projection_revision", "Revision of the projection this process follows.")
GENERATION: Final = Family("zpcode_scan_projection_info", "Generation of the projection this process follows.", "gauge", ("generation",))  # fmt: skip
CARDS: Final = Family("zpcode_scan_cards", "Cards in memory.")
RING_SERIAL: Final = Family("zpcode_scan_keyring_serial", "Serial of the keyring in force.")
RING_ISSUED: Final = Family("zpcode_scan_keyring_issued_timestamp_seconds", "When the root signed the keyring in force.")  # fmt: skip
RING_UNTIL: Final = Family(
    "zpcode_scan_signing_key_until_timestamp_seconds", "When the key that signs now ends; 0 without one."
)
RING_PROBLEM: Final = Family("zpcode_scan_keyring_problem", "1 where the keyring's file cannot be trusted.")
LOOP_LAG: Final = Family("zpcode_scan_loop_lag_seconds", "Longest delay of the event loop in the last half minute.")
LOOP_ANSWERS: Final = Family("zpcode_scan_loop_answers", "1 where the event loop answered within a second.")
PLACES: Final = ("redis", "database", "nowhere")
ANSWER_SECONDS: Final = 1.0
PERIOD: Final = 0.5
WINDOW: Final = 15.0
STALLED: Final = 5.0


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """Everything at one moment: the process's health, its meters copied, the loop's longest delay in seconds."""

    health: Mapping[str, Any]
    answers: Mapping[str, int]
    seconds: Spread
    errors: int
    refused: int
    lag: float


class LoopLag:
    """Comes round every half second on the event loop, and notes how late: what blocks the loop blocks every scan.

    It also sees whether somebody else comes round: `looks` is a number that must have grown within five seconds.
    `clock` gives monotonic seconds.
    """

    def __init__(self, looks: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._looks, self._clock = looks, clock
        self._seen = (-1, clock())
        self._began = clock()
        self._worst = self._before = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on, until `stop`. On the event loop."""
        due = self._clock() + PERIOD

        def come() -> None:
            self.beat(max(0.0, self._clock() - due))
            self.start()

        self._timer = asyncio.get_running_loop().call_later(PERIOD, come)

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lag(self) -> float:
        """The longest delay seen in this window of fifteen seconds and the one before."""
        return max(self._worst, self._before)

    @property
    def watched(self) -> bool:
        """Whether that number grew lately."""
        return self._clock() - self._seen[1] < STALLED

    def beat(self, late: float) -> None:
        """One round, `late` seconds after its time."""
        now = self._clock()
        if now - self._began >= WINDOW:
            self._before, self._worst, self._began = self._worst, 0.0, now
        self._worst = max(self._worst, late)
        looks = self._looks()
        if looks != self._seen[0]:
            self._seen = looks, now


class Observation:
    """Asks the event loop for a look, from another thread. `limit` is the stream's greatest length."""

    def __init__(
        self, health: Callable[[], Mapping[str, Any]], meters: ScanCounters, pulse: LoopLag, limit: int
    ) -> None:
        self._health, self._meters, self._pulse, self._limit = health, meters, pulse, limit
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """On the event loop that is to be asked."""
        self._loop = asyncio.get_running_loop()

    def measures(self) -> list[Measure]:
        """What Prometheus hears. Of a loop that does not answer within a second, only that."""
        found = self._asked()
        if found is None:
            return [Measure(LOOP_ANSWERS, 0)]
        return [Measure(LOOP_ANSWERS, 1), Measure(STREAM_LIMIT, self._limit), *_measures(found)]

    def look(self) -> MetricsSnapshot:
        """Everything now. On the event loop only."""
        meters = self._meters
        seconds = Spread(BOUNDS, tuple(meters.seconds.counts), meters.seconds.total)
        return MetricsSnapshot(
            self._health(), dict(meters.answers), seconds, meters.errors, meters.refused, self._pulse.lag
        )

    def _asked(self) -> MetricsSnapshot | None:
        answer: concurrent.futures.Future[MetricsSnapshot] = concurrent.futures.Future()

        def tell() -> None:
            try:
                answer.set_result(self.look())
            except Exception as error:  # noqa: BLE001 - told to whoever waits for it
                answer.set_exception(error)

        if self._loop is None or self._loop.is_closed():
            return None
        self._loop.call_soon_threadsafe(tell)
        try:
            return answer.result(ANSWER_SECONDS)
        except concurrent.futures.TimeoutError:
            return None


def _measures(found: MetricsSnapshot) -> Iterator[Measure]:
    health, scans, ring = found.health, found.health["scans"], found.health["keyring"]
    for verdict in Verdict:
        yield Measure(ANSWERS, found.answers.get(verdict, 0), (verdict.value,))
    for place in PLACES:
        yield Measure(ANSWERS_FROM, int(health["answers_from"] == place), (place,))
    yield Measure(GENERATION, 1, (health["projection"]["generation"] or "none",))
    for family, value in (
        (ERRORS, found.errors),
        (REFUSED, found.refused),
        (READY, health["ready"]),
        (DATABASE_UP, health["database"] == "up"),
        (TRIPS, health["redis_round_trips"]),
        (QUERIES, health["database_queries"]),
        (JOINED, health["database_joined"]),
        (LOOKS, health["looks"]),
        (WAITING, scans["waiting"]),
        (SENT, scans["sent"]),
        (DROPPED, scans["dropped"]),
        (REVISION, health["projection"]["revision"]),
        (CARDS, health["cards_in_memory"]),
        (RING_SERIAL, ring["serial"]),
        (RING_ISSUED, ring["issued"]),
        (RING_UNTIL, ring["signs_until"]),
        (RING_PROBLEM, ring["problem"]),
        (LOOP_LAG, found.lag),
    ):
        yield Measure(family, float(value))
    yield Measure(SECONDS, found.seconds)
