"""The parts of watching that need no server: lag, beats, the pulse, what is exposed and where."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from scanweb.metrics.metrics import STALLED, LoopLag
from tests.support.clock import Clock
from zpcode.services.monitoring.lag import Lag
from zpcode.telemetry import exposition, metrics
from zpcode.telemetry.exposition import Exposition, address_of
from zpcode.telemetry.logs import AT_MOST, WINDOW_SECONDS, Repeats
from zpcode.telemetry.metrics import Family, Measure, Spread
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


# Beats ------------------------------------------------------------------------------------------------------


def test_a_loop_that_only_waits_is_alive_and_not_ready(clock: Clock) -> None:
    beats = WorkerLoops(clock)
    beat = beats.of("drain", 1)
    for _ in range(20):
        clock.seconds += 1
        beat.turn("waits")
    assert beats.alive() == (True, {"stopped": []})
    assert beats.ready() == (False, {"waiting": ["drain"]})
    beat.turn("done")
    assert beats.ready() == (True, {"waiting": []})


def test_a_loop_that_does_not_come_round_is_stopped(clock: Clock) -> None:
    beats = WorkerLoops(clock)
    beats.of("drain", 1).turn("done")
    beats.of("project", 1)
    clock.seconds += READY_SECONDS + 2
    assert beats.ready() == (False, {"waiting": ["drain", "project"]})
    clock.seconds += ALIVE_SECONDS
    beats.goes_on("project")
    assert beats.alive() == (False, {"stopped": ["drain"]})
    found = {(one.family.name, one.labels): one.value for one in beats.measures()}
    assert found["zpcode_worker_loop_stopped", ("drain",)] == 1
    assert found["zpcode_worker_loop_stopped", ("project",)] == 0
    assert found["zpcode_worker_turns_total", ("drain", "done")] == 1


def test_a_process_without_loops_is_not_healthy(clock: Clock) -> None:
    assert not WorkerLoops(clock).alive()[0]
    assert not WorkerLoops(clock).ready()[0]


# The pulse of a scan process --------------------------------------------------------------------------------


def test_the_pulse_keeps_the_longest_delay_of_two_windows(clock: Clock) -> None:
    pulse = LoopLag(lambda: 1, clock)
    pulse.beat(0.4)
    pulse.beat(0.1)
    assert pulse.lag == 0.4
    clock.seconds += 16
    pulse.beat(0.0)
    assert pulse.lag == 0.4
    clock.seconds += 16
    pulse.beat(0.2)
    assert pulse.lag == 0.2


def test_the_pulse_sees_whether_the_watch_goes_on_looking(clock: Clock) -> None:
    looks = 1
    pulse = LoopLag(lambda: looks, clock)
    assert pulse.watched, "nothing is known yet"
    pulse.beat(0.0)
    clock.seconds += STALLED + 1
    pulse.beat(0.0)
    assert not pulse.watched
    looks = 2
    pulse.beat(0.0)
    assert pulse.watched


# What is exposed --------------------------------------------------------------------------------------------

COUNT = Family("zpcode_test_things_total", "Things.", "counter", ("kind",))
SIZE = Family("zpcode_test_size", "Size.")
TIME = Family("zpcode_test_seconds", "Time.", "histogram")


def _exposed(*measures: Measure) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.page(metrics.registry("test", lambda: measures)).decode()
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for found in families for one in found.samples}


def test_measures_come_out_as_prometheus_reads_them() -> None:
    spread = Spread((0.1, 1.0), (3, 2, 1), 4.5)
    found = _exposed(Measure(COUNT, 2, ("a",)), Measure(SIZE, 1.5), Measure(COUNT, 3, ("b",)), Measure(TIME, spread))
    assert found["zpcode_test_things_total", (("kind", "a"),)] == 2
    assert found["zpcode_test_things_total", (("kind", "b"),)] == 3
    assert found["zpcode_test_size", ()] == 1.5
    buckets = [found["zpcode_test_seconds_bucket", (("le", bound),)] for bound in ("0.1", "1.0", "+Inf")]
    assert buckets == [3, 5, 6]
    assert (found["zpcode_test_seconds_count", ()], found["zpcode_test_seconds_sum", ()]) == (6, 4.5)
    assert any(name == "zpcode_build_info" and ("process", "test") in labels for name, labels in found)
    assert ("process_resident_memory_bytes", ()) in found


# The log ----------------------------------------------------------------------------------------------------


def _record(message: str, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("here", level, "", 0, message, (), None)


def test_what_repeats_itself_is_bounded_and_said_how_often(clock: Clock) -> None:
    repeats = Repeats(clock)
    written = sum(repeats.filter(_record("Invalid HTTP request received.")) for _ in range(1000))
    assert written == AT_MOST
    assert repeats.filter(_record("something else"))
    assert all(repeats.filter(_record("request", logging.INFO)) for _ in range(1000)), (
        "what is asked for is not bounded"
    )
    clock.seconds += WINDOW_SECONDS
    late = _record("Invalid HTTP request received.")
    assert repeats.filter(late)
    assert vars(late)["suppressed"] == 1000 - AT_MOST


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
    with Exposition("0", pages) as found, httpx.Client(base_url=f"http://127.0.0.1:{found.port}") as http:
        assert http.get("/metrics?x=1").text == "here"
        assert (http.get("/readyz").status_code, http.get("/readyz").json()) == (503, {"waiting": ["drain"]})
        assert http.get("/keys").status_code == 404
        assert http.post("/metrics").status_code == 501


def test_a_page_that_fails_costs_that_answer_only(caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> exposition.ExpositionResponse:
        raise RuntimeError("defect")

    with Exposition("0", {"/bad": fails, "/good": _page()}) as found:
        base = f"http://127.0.0.1:{found.port}"
        with pytest.raises(httpx.TransportError):
            httpx.get(base + "/bad")
        assert httpx.get(base + "/good").status_code == 200
    assert "an answer about this process failed" in caplog.text
    assert "127.0.0.1:" not in caplog.text.replace("metrics", ""), "who asked is not logged"


def test_seventeen_at_once_are_not_served_and_sixteen_that_say_nothing_harm_nobody_for_long() -> None:
    asked = threading.Event()

    def slow() -> exposition.ExpositionResponse:
        asked.set()
        return exposition.ExpositionResponse(200, "text/plain", b"")

    with Exposition("0", {"/": slow}) as found:
        silent = [socket.create_connection(("127.0.0.1", found.port)) for _ in range(exposition.AT_ONCE)]
        try:
            late = socket.create_connection(("127.0.0.1", found.port))
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
        with Exposition(str(port), {}) as found:
            assert found.port == 0
    assert "nobody can watch this process" in caplog.text


def test_without_an_address_nothing_listens() -> None:
    with Exposition("", {}) as found:
        assert found.port == 0
