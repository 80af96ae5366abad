"""What a scan costs, and how soon a revocation is visible.

    redis_round_trips_per_scan  counted by Valkey (read events), for codes whose cards the process has in memory; a
                                process without the card needs a second round trip
    db_queries_per_warm_scan    counted by PostgreSQL (transactions)
    revoke_visible_ms_p99       from the commit of a revocation to the first scan that shows it, over all scan processes,
                                with load on each of them and without a worker
    revoke_batch_vs_code        time to revoke ten million codes ÷ time to revoke one: decided, committed, projected

What the servers count in the same time without scans is subtracted.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from loadtests.bench.http_client import open_loop, request
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
LOAD = 1000.0  # scans a second on each process during the revocations
MANY = 10_000_000
STATISTICS_SECONDS = 2.0  # PostgreSQL's sessions report their counts at most once a second


def scan_figures() -> dict[str, float]:
    """The figures above, and revoke_visible_ms_p50."""
    with running(codes=2000, scan_processes=2) as system:
        figures = _costs(system)
        with _under_load(system):
            figures |= _revocations(system)
        return figures | _batch_against_code(system)


@contextmanager
def _under_load(system: BenchSystem) -> Iterator[None]:
    """Load on every scan process during the block. Raises SystemExit where a process answered less than half of it."""
    requests = [request(path, visitor) for visitor, path in enumerate(system.paths[:100])]
    context = multiprocessing.get_context("spawn")
    visitors = [context.Process(target=_send_scans, args=(port, requests), daemon=True) for port in system.ports]
    for visitor in visitors:
        visitor.start()
    time.sleep(STATISTICS_SECONDS)
    before = [_scans_sent(system, port) for port in system.ports]
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    for visitor in visitors:
        visitor.terminate()
        visitor.join()
    for port, answers in zip(system.ports, before, strict=True):
        if (_scans_sent(system, port) - answers) / seconds < LOAD / 2:
            raise SystemExit(
                f"the load on port {port} was too low: {_scans_sent(system, port) - answers} answers in {seconds:.0f} s"
            )


def _scans_sent(system: BenchSystem, port: int) -> int:
    """How many scans a process has sent to the stream so far."""
    return int(system.state(port)["scans"]["sent"])


def _send_scans(port: int, requests: list[bytes]) -> None:
    open_loop(port, itertools.cycle(requests), rate=LOAD, seconds=600)


def _costs(system: BenchSystem) -> dict[str, float]:
    paths = system.paths[:100]
    visitor = Visitor(system.ports[0], "costs")
    for path in paths:
        visitor.scan(path)
    time.sleep(STATISTICS_SECONDS)
    before, begun = _counters(system), time.monotonic()
    for turn in range(SCANS):
        visitor.scan(paths[turn % len(paths)])
    seconds = time.monotonic() - begun
    time.sleep(STATISTICS_SECONDS)
    busy = _difference(before, _counters(system))
    before = _counters(system)
    time.sleep(seconds + STATISTICS_SECONDS)
    idle = _difference(before, _counters(system))
    visitor.close()
    return {
        "redis_round_trips_per_scan": round(max(0.0, (busy["reads"] - idle["reads"]) / SCANS), 2),
        "db_queries_per_warm_scan": round(max(0.0, (busy["transactions"] - idle["transactions"]) / SCANS), 2),
    }


def _counters(system: BenchSystem) -> dict[str, int]:
    reads: Any = system.redis.info("stats")
    with transaction(system.engine) as connection:
        connection.execute(text("SELECT pg_stat_clear_snapshot()"))
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        return {
            "reads": int(reads["total_reads_processed"]),
            "transactions": int(connection.execute(text(query)).scalar_one()),
        }


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in before}


def _revocations(system: BenchSystem) -> dict[str, float]:
    delays: list[float] = []
    for index in range(200, 200 + REVOCATIONS):
        path = system.paths[index]
        polls = [_RevocationPoll(port, path) for port in system.ports]
        request = StatusRequest(
            scope=Scope.CODE, target=f"{system.batch.number}:{index}", action=Action.REVOKE, reason="counterfeit-confirmed",
            legal_basis="bench", notice="BENCH-1",
        )  # fmt: skip
        change.change(system.engine, request, caller=seed.DEMO, now=datetime.now(UTC))
        committed = time.monotonic()
        projector.catch_up(system.engine, system.redis)
        delays += [(poll.shown_at() - committed) * 1000 for poll in polls]
    return {
        "revoke_visible_ms_p50": round(statistics.median(delays), 1),
        "revoke_visible_ms_p99": round(statistics.quantiles(delays, n=100)[98], 1),
    }


def _batch_against_code(system: BenchSystem) -> dict[str, float]:
    """One code and a batch of ten million, in turn."""
    batch = reserved(system.engine, MANY)
    one, many = [], []
    for index in range(1000, 1000 + REVOCATIONS):
        one.append(_decision_seconds(system, Scope.CODE, f"{system.batch.number}:{index}", Action.REVOKE))
        action = Action.RESTORE if index % 2 else Action.REVOKE
        many.append(_decision_seconds(system, Scope.BATCH, str(batch.number), action))
    return {"revoke_batch_vs_code": round(statistics.median(many) / statistics.median(one), 2)}


def _decision_seconds(system: BenchSystem, scope: Scope, target: str, action: Action) -> float:
    """Seconds of one decision, until it is in Redis."""
    reason = "counterfeit-confirmed" if action is Action.REVOKE else "entered-in-error"
    request = StatusRequest(
        scope=scope, target=target, action=action, reason=reason, legal_basis="bench", notice="BENCH-1"
    )
    begun = time.perf_counter()
    change.change_and_project(system.engine, system.redis, request, caller=seed.DEMO, now=datetime.now(UTC))
    return time.perf_counter() - begun


class _RevocationPoll(threading.Thread):
    """Scans one code again and again until it is shown as revoked."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self._visitor, self._path, self._at = Visitor(port, f"poll {path[-6:]}"), path, 0.0
        if self._visitor.scan(path)["verdict"] != "verified":
            raise SystemExit(f"{path} should be verified before it is revoked")
        self.start()

    def run(self) -> None:
        while self._visitor.scan(self._path)["verdict"] != "revoked":
            if self._at:
                return
        self._at = time.monotonic()

    def shown_at(self) -> float:
        """When the first scan showed it, on the monotonic clock. Raises SystemExit after ten seconds."""
        self.join(10)
        if self.is_alive():
            self._at = -1.0
            raise SystemExit("a revocation was not visible within ten seconds")
        self._visitor.close()
        return self._at
