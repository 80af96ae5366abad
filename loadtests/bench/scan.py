"""What a scan costs, and how soon a revocation shows.

`redis_round_trips_per_scan` (of codes whose cards the process has; one that has not asks a second time) and
`db_queries_per_warm_scan` are counted by the servers themselves: read
events in Valkey, transactions in PostgreSQL, each less what the same time costs with nobody scanning.
`revoke_visible_ms_p99` is from the commit of a revocation to the first scan that shows it, over all scan
processes, without a worker, while every one of them is under load. `revoke_batch_vs_code` is how much longer it takes to
revoke ten million codes than one, decided, committed and projected.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import statistics
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from loadtests.bench.http_client import opened, request
from loadtests.bench.system import BenchSystem, Visitor, reserved, running
from zpcode.demo import seed
from zpcode.projection import projector
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services.status import change
from zpcode.store.database.session import transaction
from zpcode.wire.vocabulary import Scope

SCANS = 3000
REVOCATIONS = 60
LOAD = 1000.0  # scans a second at each process meanwhile
MANY = 10_000_000
STATISTICS_SECONDS = 2.0  # PostgreSQL's sessions report what they did at most once a second


def scan_figures() -> dict[str, float]:
    """Measure: redis_round_trips_per_scan, db_queries_per_warm_scan, revoke_visible_ms_p50 and _p99, revoke_batch_vs_code."""
    with running(codes=2000, scan_processes=2) as place:
        figures = _costs(place)
        with _loaded(place):
            figures |= _revocations(place)
        return figures | _reach(place)


@contextmanager
def _loaded(place: BenchSystem) -> Iterator[None]:
    """Visitors at every scan process, as many as a busy shop has, for as long as this lasts."""
    requests = [request(path, visitor) for visitor, path in enumerate(place.paths[:100])]
    context = multiprocessing.get_context("spawn")
    visitors = [context.Process(target=_visit, args=(port, requests), daemon=True) for port in place.ports]
    for visitor in visitors:
        visitor.start()
    time.sleep(STATISTICS_SECONDS)
    before = [_answered(port) for port in place.ports]
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    for visitor in visitors:
        visitor.terminate()
        visitor.join()
    for port, answers in zip(place.ports, before, strict=True):
        if (_answered(port) - answers) / seconds < LOAD / 2:
            raise SystemExit(
                f"the load on port {port} did not come: {_answered(port) - answers} answers in {seconds:.0f} s"
            )


def _answered(port: int) -> int:
    """Scans a process has sent to the stream so far: what it says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz") as answer:
        told: dict[str, Any] = json.load(answer)
    return int(told["scans"]["sent"])


def _visit(port: int, requests: list[bytes]) -> None:
    opened(port, itertools.cycle(requests), rate=LOAD, seconds=600)


def _costs(place: BenchSystem) -> dict[str, float]:
    paths = place.paths[:100]
    visitor = Visitor(place.ports[0], "costs")
    for path in paths:
        visitor.scan(path)
    time.sleep(STATISTICS_SECONDS)
    before, begun = _counters(place), time.monotonic()
    for turn in range(SCANS):
        visitor.scan(paths[turn % len(paths)])
    seconds = time.monotonic() - begun
    time.sleep(STATISTICS_SECONDS)
    busy = _difference(before, _counters(place))
    before = _counters(place)
    time.sleep(seconds + STATISTICS_SECONDS)
    idle = _difference(before, _counters(place))
    visitor.close()
    return {
        "redis_round_trips_per_scan": round(max(0.0, (busy["reads"] - idle["reads"]) / SCANS), 2),
        "db_queries_per_warm_scan": round(max(0.0, (busy["transactions"] - idle["transactions"]) / SCANS), 2),
    }


def _counters(place: BenchSystem) -> dict[str, int]:
    reads: Any = place.redis.info("stats")
    with transaction(place.engine) as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return {
            "reads": int(reads["total_reads_processed"]),
            "transactions": int(connection.execute(text(query)).scalar_one()),
        }


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}


def _revocations(place: BenchSystem) -> dict[str, float]:
    delays: list[float] = []
    for index in range(200, 200 + REVOCATIONS):
        path = place.paths[index]
        watches = [_Watch(port, path) for port in place.ports]
        request = StatusRequest(
            scope=Scope.CODE, target=f"{place.batch.number}:{index}", action=Action.REVOKE, reason="counterfeit-confirmed",
            legal_basis="bench", notice="BENCH-1",
        )  # fmt: skip
        change.change(place.engine, request, caller=seed.DEMO, now=datetime.now(UTC))
        committed = time.monotonic()
        projector.catch_up(place.engine, place.redis)
        delays += [(watch.seen() - committed) * 1000 for watch in watches]
    return {
        "revoke_visible_ms_p50": round(statistics.median(delays), 1),
        "revoke_visible_ms_p99": round(statistics.quantiles(delays, n=100)[98], 1),
    }


def _reach(place: BenchSystem) -> dict[str, float]:
    """One code against a batch of ten million, turn by turn."""
    batch = reserved(place.engine, MANY)
    one, many = [], []
    for index in range(1000, 1000 + REVOCATIONS):
        one.append(_seconds(place, Scope.CODE, f"{place.batch.number}:{index}", Action.REVOKE))
        action = Action.RESTORE if index % 2 else Action.REVOKE
        many.append(_seconds(place, Scope.BATCH, str(batch.number), action))
    return {"revoke_batch_vs_code": round(statistics.median(many) / statistics.median(one), 2)}


def _seconds(place: BenchSystem, scope: Scope, target: str, action: Action) -> float:
    """How long one decision takes, until Redis has it."""
    reason = "counterfeit-confirmed" if action is Action.REVOKE else "entered-in-error"
    request = StatusRequest(
        scope=scope, target=target, action=action, reason=reason, legal_basis="bench", notice="BENCH-1"
    )
    begun = time.perf_counter()
    change.change_and_project(place.engine, place.redis, request, caller=seed.DEMO, now=datetime.now(UTC))
    return time.perf_counter() - begun


class _Watch(threading.Thread):
    """Somebody who keeps scanning one code until it is shown as revoked."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self._visitor, self._path, self._at = Visitor(port, f"watch {path[-6:]}"), path, 0.0
        if self._visitor.scan(path)["verdict"] != "verified":
            raise SystemExit(f"{path} should be verified before it is revoked")
        self.start()

    def run(self) -> None:
        while self._visitor.scan(self._path)["verdict"] != "revoked":
            if self._at:
                return
        self._at = time.monotonic()

    def seen(self) -> float:
        """When the first scan showed it, on the monotonic clock. Ends the process after ten seconds without."""
        self.join(10)
        if self.is_alive():
            self._at = -1.0
            raise SystemExit("a revocation was not seen within ten seconds")
        self._visitor.close()
        return self._at
