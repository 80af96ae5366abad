"""Telemetry without servers: event loop lag, worker loops, metrics, the log, and the metrics port."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable
from importlib.metadata import version

import httpx
import pytest
from prometheus_client import Counter
from prometheus_client.samples import Sample

from scanweb.metrics.collector import ScanCollector, of_answers
from scanweb.metrics.loop_lag import STALLED, LoopLag
from scanweb.metrics.meters import ScanCounters
from tests.support.clock import Clock
from tests.support.exposed import Exposed
from zpcode.services.monitoring.lag import Lag
from zpcode.telemetry import exposition, metrics
from zpcode.telemetry.exposition import Exposition, address_of
from zpcode.telemetry.logs import (
    MAX_REPEATS,
    MAX_TRACEBACK,
    MAX_VALUE,
    WINDOW_SECONDS,
    JsonLines,
    Repeats,
    TerminalLines,
)
from zpcode.telemetry.worker_loops import ALIVE_SECONDS, READY_SECONDS, WorkerLoops

# Lag --------------------------------------------------------------------------------------------------------


def test_a_follower_that_is_level_has_no_lag(clock: Clock) -> None:
    lag = Lag(clock)
    lag.leads(7)
    clock.seconds += 100
    lag.follows(7)
    assert (lag.steps, lag.seconds) == (0, 0.0)
    clock.seconds += 50
    lag.leads(8)
    assert (lag.steps, lag.seconds) == (1, 0.0), "the time it was level does not count"


def test_the_lag_is_that_of_the_oldest_number_that_is_missing(clock: Clock) -> None:
    lag = Lag(clock)
    lag.leads(1)
    lag.follows(1)
    for number in (2, 5, 9):
        clock.seconds += 10
        lag.leads(number)
    assert (lag.steps, lag.seconds) == (8, 20.0)
    lag.follows(4)
    assert (lag.steps, lag.seconds) == (5, 10.0)
    lag.follows(9)
    assert (lag.steps, lag.seconds) == (0, 0.0)


def test_a_follower_that_was_emptied_lags_from_that_moment(clock: Clock) -> None:
    lag = Lag(clock)
    lag.leads(9)
    lag.follows(9)
    clock.seconds += 3600
    lag.follows(0)
    clock.seconds += 2
    lag.follows(0)
    assert (lag.steps, lag.seconds) == (9, 2.0)


# Loops of the worker ----------------------------------------------------------------------------------------


def test_a_loop_that_only_waits_is_alive_and_not_ready(clock: Clock) -> None:
    loops = WorkerLoops(clock)
    loop = loops.add("drain", 1)
    for _ in range(20):
        clock.seconds += 1
        loop.turn("waits")
    assert loops.alive() == (True, {"stopped": []})
    assert loops.ready() == (False, {"waiting": ["drain"]})
    loop.turn("done")
    assert loops.ready() == (True, {"waiting": []})


def test_a_loop_that_does_not_come_round_is_stopped(clock: Clock) -> None:
    loops = WorkerLoops(clock)
    loops.add("drain", 1).turn("done")
    loops.add("project", 1)
    clock.seconds += READY_SECONDS + 2
    assert loops.ready() == (False, {"waiting": ["drain", "project"]})
    clock.seconds += ALIVE_SECONDS
    loops.progress("project")
    assert loops.alive() == (False, {"stopped": ["drain"]})
    exposed = Exposed.of(metrics.registry("test", loops))
    assert exposed.value("zpcode_worker_loop_stopped", loop="drain") == 1
    assert exposed.value("zpcode_worker_loop_stopped", loop="project") == 0
    assert exposed.value("zpcode_worker_turns_total", loop="drain", outcome="done") == 1
    assert exposed.value("zpcode_worker_turns_total", loop="drain", outcome="failed") == 0
    assert exposed.value("zpcode_worker_since_turn_seconds", loop="drain") == READY_SECONDS + 2 + ALIVE_SECONDS


def test_a_process_without_loops_is_not_healthy(clock: Clock) -> None:
    assert not WorkerLoops(clock).alive()[0]
    assert not WorkerLoops(clock).ready()[0]


# The event loop of a scan process ---------------------------------------------------------------------------


def test_the_longest_delay_of_two_windows_is_kept(clock: Clock) -> None:
    lag = LoopLag(lambda: 1, clock)
    lag.measure(0.4)
    lag.measure(0.1)
    assert lag.seconds == 0.4
    clock.seconds += 16
    lag.measure(0.0)
    assert lag.seconds == 0.4
    clock.seconds += 16
    lag.measure(0.2)
    assert lag.seconds == 0.2


def test_a_loop_without_new_rounds_is_noticed(clock: Clock) -> None:
    rounds = 1
    lag = LoopLag(lambda: rounds, clock)
    assert lag.rounds_grow, "nothing is known yet"
    lag.measure(0.0)
    clock.seconds += STALLED + 1
    lag.measure(0.0)
    assert not lag.rounds_grow
    rounds = 2
    lag.measure(0.0)
    assert lag.rounds_grow


# Metrics ----------------------------------------------------------------------------------------------------


def test_a_registry_says_which_process_it_is_and_what_it_uses() -> None:
    exposed = Exposed.of(metrics.registry("test"))
    assert exposed.value("zpcode_build_info", process="test", version=version("zpcode")) == 1
    assert exposed.has("process_resident_memory_bytes")


def test_no_series_says_when_a_counter_was_made() -> None:
    registry = metrics.registry("test")
    Counter("zpcode_test_things_total", "Things.", registry=registry).inc()
    names = {sample.name for sample in Exposed.of(registry).samples}
    assert "zpcode_test_things_total" in names
    assert not [name for name in names if name.endswith("_created")]


def test_answer_times_are_exposed_as_cumulative_buckets() -> None:
    meters = ScanCounters()
    for seconds in (0.001, 0.0011, 0.0025, 9.0):
        meters.answered("verified", seconds)
    collector = ScanCollector(dict, meters, LoopLag(lambda: 1), 1)
    histogram = {sample.labels.get("le", sample.name): sample.value for sample in _times(collector)}
    assert (histogram["0.001"], histogram["0.0025"], histogram["2.5"], histogram["+Inf"]) == (1, 3, 3, 4)
    assert histogram["zpcode_scan_answer_seconds_count"] == 4
    assert histogram["zpcode_scan_answer_seconds_sum"] == pytest.approx(9.0046)


def _times(collector: ScanCollector) -> list[Sample]:
    families = {family.name: family for family in of_answers(collector.snapshot())}
    return families["zpcode_scan_answer_seconds"].samples


# The log ----------------------------------------------------------------------------------------------------


def _record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("here", level, "", 0, message, (), None)


def test_what_repeats_itself_is_bounded_and_said_how_often(clock: Clock) -> None:
    repeats = Repeats(clock)
    written = sum(repeats.filter(_record("Invalid HTTP request received.")) for _ in range(1000))
    assert written == MAX_REPEATS
    assert repeats.filter(_record("something else"))
    assert all(repeats.filter(_record("request", logging.INFO)) for _ in range(1000)), (
        "what is asked for is not bounded"
    )
    clock.seconds += WINDOW_SECONDS
    late = _record("Invalid HTTP request received.")
    assert repeats.filter(late)
    assert vars(late)["suppressed"] == 1000 - MAX_REPEATS


def test_a_command_logs_one_line_with_what_belongs_to_it() -> None:
    """The sentence alone would not say in what the database is behind."""
    record = logging.LogRecord("zpcode", logging.ERROR, "", 0, "the database is behind", (), None)
    assert TerminalLines().format(record) == "the database is behind"
    record.evidence = "Redis: has batch number 8"
    assert TerminalLines().format(record) == "the database is behind: Redis: has batch number 8"


def test_a_line_of_the_log_has_a_bound_whatever_a_client_sent() -> None:
    """Both ends of a long text stay, and so does the last line of a traceback."""
    record = _record("x" * 100_000, logging.ERROR)
    record.detail, record.parts, record.number = "y" * 100_000, ["z" * 50_000] * 2, 7
    error = ValueError("parameters: " + "p" * 1_000_000 + " the cause")
    record.exc_info = (type(error), error, None)
    line = JsonLines("authority").format(record)
    assert len(line) < MAX_TRACEBACK + 4 * MAX_VALUE
    read = json.loads(line)
    assert read["error"].startswith("ValueError: parameters")
    assert read["error"].endswith("the cause")
    assert read["number"] == 7
    assert len(read["detail"]) < MAX_VALUE + 20


# Where ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9701", ("127.0.0.1", 9701)),
        ("0.0.0.0:9701", ("0.0.0.0", 9701)),  # noqa: S104 - read, not bound
        ("metrics.internal:1", ("metrics.internal", 1)),
        ("[::1]:9701", ("::1", 9701)),
    ],
)
def test_a_port_alone_is_one_of_loopback(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "70000", "::1:9701", "1:2:3", "９７０１"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not PORT"):
        address_of(text)


def _page(body: bytes = b"here") -> Callable[[], exposition.ExpositionResponse]:
    return lambda: exposition.ExpositionResponse(200, "text/plain", body)


def test_it_answers_with_its_pages_and_knows_no_other() -> None:
    pages = {"/metrics": _page(), "/readyz": exposition.of_state(lambda: (False, {"waiting": ["drain"]}))}
    with Exposition("0", pages) as served, httpx.Client(base_url=f"http://127.0.0.1:{served.port}") as http:
        assert http.get("/metrics?x=1").text == "here"
        assert (http.get("/readyz").status_code, http.get("/readyz").json()) == (503, {"waiting": ["drain"]})
        assert http.get("/keys").status_code == 404
        assert http.post("/metrics").status_code == 501


def test_a_page_that_fails_costs_that_answer_only(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> exposition.ExpositionResponse:
        raise RuntimeError("defect")

    with Exposition("0", {"/bad": fails, "/good": _page()}) as served:
        base = f"http://127.0.0.1:{served.port}"
        with pytest.raises(httpx.TransportError):
            httpx.get(base + "/bad")
        assert httpx.get(base + "/good").status_code == 200
    assert "a request for metrics or health failed" in caplog.text
    assert "127.0.0.1:" not in caplog.text.replace("metrics", ""), "who asked is not logged"


def test_seventeen_at_once_are_not_served_and_sixteen_that_say_nothing_harm_nobody_for_long() -> None:
    asked = threading.Event()

    def slow() -> exposition.ExpositionResponse:
        asked.set()
        return exposition.ExpositionResponse(200, "text/plain", b"")

    with Exposition("0", {"/": slow}) as served:
        silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(exposition.MAX_CONNECTIONS)]
        try:
            late = socket.create_connection(("127.0.0.1", served.port))
            late.settimeout(5)
            assert late.recv(1) == b"", "hung up on"
            late.close()
        finally:
            for one in silent:
                one.close()
    assert not asked.is_set()


def test_a_port_that_is_taken_does_not_end_the_process(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Exposition(str(port), {}) as served:
            assert served.port == 0
    assert "the port for metrics cannot be opened" in caplog.text


def test_without_an_address_nothing_listens() -> None:
    with Exposition("", {}) as served:
        assert served.port == 0
