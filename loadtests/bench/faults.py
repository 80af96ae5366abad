"""How long visitors wait when Redis or PostgreSQL fails.

Each figure is the p99 of one scan process, open loop (waiting counts), over 4.5 seconds that begin 0.3 s before the fault. So it
includes the scans that wait for a server that no longer answers. `fault_revoke_visible_ms_max` is from the commit of a
revocation to the first scan that shows it while Redis is frozen: the scan process reads it from the database. A figure of
-1 means that an answer was not 200 or was missing.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from redis import Redis
from sqlalchemy import text

from loadtests.bench import http_client
from loadtests.bench.system import SCAN, UVICORN, BenchSystem, Visitor, running
from zpcode.demo import seed
from zpcode.projection import projector
from zpcode.rules.status.decisions import Action
from zpcode.rules.status.permissions import StatusRequest
from zpcode.services.status import change
from zpcode.store.database.session import transaction
from zpcode.wire import redis_keys
from zpcode.wire.card import batch_key
from zpcode.wire.vocabulary import Scope

RATE: Final = 300.0
SECONDS: Final = 4.5  # a server closes an idle connection after five seconds
LEAD_SECONDS: Final = 0.3
CODES: Final = 1000
REVOCATIONS: Final = 8
PATIENCE_SECONDS: Final = 20.0
_NUMBERS = itertools.count()


def fault_figures() -> dict[str, float]:
    """The p99 of each fault, and the time until a revocation is visible during one, in milliseconds."""
    with running(codes=CODES, scan_processes=1) as system:
        valkey = _valkey(system)
        http_client.open_loop(system.ports[0], _requests(system), rate=RATE, seconds=CODES / RATE)
        figures = {
            "fault_redis_frozen_p99_ms": _p99_during(system, _frozen([valkey])),
            "fault_postgres_stopped_p99_ms": _p99_during(system, _frozen(_postgres(system))),
            "fault_postgres_stopped_cold_p99_ms": _p99_cold(system),
            "fault_redis_flushed_p99_ms": _p99_during(system, _flushed(system)),
            "fault_both_frozen_p99_ms": _p99_during(system, _frozen([valkey, *_postgres(system)])),
            "fault_revoke_visible_ms_max": _revocations(system, valkey),
        }
        return figures | {"fault_redis_killed_p99_ms": _p99_during(system, _killed(valkey), recovers=False)}


# Load -----------------------------------------------------------------------------------------------------------


def _requests(system: BenchSystem) -> Iterator[bytes]:
    while True:
        number = next(_NUMBERS)
        yield http_client.request(system.paths[number % CODES], number)


def _p99_cold(system: BenchSystem) -> float:
    """The p99 of codes whose card neither Redis nor the process has, while the database is stopped."""
    system.redis.delete(redis_keys.location(batch_key(system.batch.number))[0])
    system.serve("scanweb-cold", SCAN, server=(*UVICORN, "--factory"))
    return _p99_during(system, _frozen(_postgres(system)), port=system.ports[-1])


def _p99_during(
    system: BenchSystem, fault: AbstractContextManager[None], *, recovers: bool = True, port: int = 0
) -> float:
    """The p99 during a fault. Waits until Redis answers before it, and after it unless the fault is final."""
    _wait_for_answers_from(system, "redis")
    results: list[http_client.Measured] = []

    def load() -> None:
        results.append(http_client.open_loop(port or system.ports[0], _requests(system), rate=RATE, seconds=SECONDS))

    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(LEAD_SECONDS)
    with fault:
        loading.join()
    if recovers:
        projector.catch_up(system.engine, system.redis)
        _wait_for_answers_from(system, "redis")
    (measured,) = results
    complete = set(measured.statuses) == {200} and not measured.broken and measured.answers >= RATE * SECONDS * 0.99
    return round(measured.wait_ms(99), 1) if complete else -1.0


def _wait_for_answers_from(system: BenchSystem, source: str) -> None:
    """Wait until the scan process says that its answers come from `redis` or `database`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while system.state(system.ports[0])["answers_from"] != source:
        if time.monotonic() > deadline:
            raise SystemExit(f"answers do not come from {source}")
        time.sleep(0.05)


# Faults ---------------------------------------------------------------------------------------------------------


@contextmanager
def _frozen(processes: Sequence[int]) -> Iterator[None]:
    for process in processes:
        _send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            _send(process, signal.SIGCONT)


def _send(process: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # a session that has just ended
        os.kill(process, number)


@contextmanager
def _killed(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGKILL)
    yield


@contextmanager
def _flushed(system: BenchSystem) -> Iterator[None]:
    """Redis is emptied, and filled again after half of the time, as by a slow worker."""
    with Redis.from_url(system.addresses.admin_redis) as admin:
        admin.flushall()
    time.sleep(SECONDS / 2)
    projector.catch_up(system.engine, system.redis)
    yield


def _valkey(system: BenchSystem) -> int:
    info: Any = system.redis.info("server")
    return int(info["process_id"])


def _postgres(system: BenchSystem) -> list[int]:
    """The server first, then all its children."""
    with transaction(system.engine) as connection:
        session = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    server = _parent(session)
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [server, *(process for process in processes if _parent(process) == server)]


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _revocations(system: BenchSystem, valkey: int) -> float:
    """The longest time from the commit of a revocation to the first scan that shows it, in milliseconds."""
    delays = []
    visitor = Visitor(system.ports[0], "revocations")
    with _frozen([valkey]):
        _wait_for_answers_from(system, "database")
        for index in range(REVOCATIONS):
            visitor.scan(system.paths[index])
            request = StatusRequest(
                scope=Scope.CODE, target=f"{system.batch.number}:{index}", action=Action.REVOKE,
                reason="counterfeit-confirmed", legal_basis="bench", notice="BENCH-2",
            )  # fmt: skip
            change.change(system.engine, request, caller=seed.DEMO, now=datetime.now(UTC))
            committed = time.monotonic()
            while visitor.scan(system.paths[index])["verdict"] != "revoked":
                if time.monotonic() > committed + PATIENCE_SECONDS:
                    raise SystemExit("a revocation was not visible")
            delays.append(time.monotonic() - committed)
    visitor.close()
    projector.catch_up(system.engine, system.redis)
    return round(max(delays) * 1000, 1)
