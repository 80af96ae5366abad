"""How long people wait while Redis or PostgreSQL falls: the first wave, which waits in vain, and everybody after it.

Each figure is the p99 over the four seconds from just before the fault, open loop (waiting counts), one scan process.
`fault_revoke_visible_ms_max` is from the commit of a revocation to the first scan that shows it, Redis frozen and nobody
projecting: the watch finds it in the database. A figure of -1 says that an answer was a 5xx or did not come.
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
SECONDS: Final = 4.5  # below the five seconds after which a server hangs up on a connection that idles
LEAD_SECONDS: Final = 0.3
CODES: Final = 1000
REVOCATIONS: Final = 8
PATIENCE_SECONDS: Final = 20.0
_NUMBERS = itertools.count()


def fault_figures() -> dict[str, float]:
    """Measure the p99 of each fault in milliseconds, and how soon a revocation shows during one."""
    with running(codes=CODES, scan_processes=1) as place:
        valkey = _valkey(place)
        http_client.opened(place.ports[0], _requests(place), rate=RATE, seconds=CODES / RATE)
        figures = {
            "fault_redis_frozen_p99_ms": _during(place, _frozen([valkey])),
            "fault_postgres_stopped_p99_ms": _during(place, _frozen(_postgres(place))),
            "fault_postgres_stopped_cold_p99_ms": _cold(place),
            "fault_redis_flushed_p99_ms": _during(place, _flushed(place)),
            "fault_both_frozen_p99_ms": _during(place, _frozen([valkey, *_postgres(place)])),
            "fault_revoke_visible_ms_max": _revocations(place, valkey),
        }
        return figures | {"fault_redis_killed_p99_ms": _during(place, _killed(valkey), recovers=False)}


# Load -----------------------------------------------------------------------------------------------------------


def _requests(place: BenchSystem) -> Iterator[bytes]:
    while True:
        number = next(_NUMBERS)
        yield http_client.request(place.paths[number % CODES], number)


def _cold(place: BenchSystem) -> float:
    """The p99 of codes that neither Redis nor this process knows, while there is no database to ask."""
    place.redis.delete(redis_keys.location(batch_key(place.batch.number))[0])
    place.serve("scanweb-cold", SCAN, server=(*UVICORN, "--factory"))
    return _during(place, _frozen(_postgres(place)), port=place.ports[-1])


def _during(place: BenchSystem, fault: AbstractContextManager[None], *, recovers: bool = True, port: int = 0) -> float:
    """The p99 while this happens, once everything is as it should be."""
    _settled(place, "redis")
    found: list[http_client.Measured] = []

    def load() -> None:
        found.append(http_client.opened(port or place.ports[0], _requests(place), rate=RATE, seconds=SECONDS))

    loading = threading.Thread(target=load)
    loading.start()
    time.sleep(LEAD_SECONDS)
    with fault:
        loading.join()
    if recovers:
        projector.catch_up(place.engine, place.redis)
        _settled(place, "redis")
    (poured,) = found
    whole = set(poured.statuses) == {200} and not poured.broken and poured.answers >= RATE * SECONDS * 0.99
    return round(poured.wait_ms(99), 1) if whole else -1.0


def _settled(place: BenchSystem, word: str) -> None:
    visitor = Visitor(place.ports[0], "settled")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while visitor.scan("/readyz")["answers_from"] != word:
        if time.monotonic() > deadline:
            raise SystemExit(f"answers do not come from {word}")
        time.sleep(0.05)
    visitor.close()


# Faults ---------------------------------------------------------------------------------------------------------


@contextmanager
def _frozen(family: Sequence[int]) -> Iterator[None]:
    for process in family:
        _send(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(family):
            _send(process, signal.SIGCONT)


def _send(process: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # a session that has just ended
        os.kill(process, what)


@contextmanager
def _killed(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGKILL)
    yield


@contextmanager
def _flushed(place: BenchSystem) -> Iterator[None]:
    """Emptied, and filled again after half of the time, as by a worker that was slow."""
    with Redis.from_url(place.addresses.admin_redis) as admin:
        admin.flushall()
    time.sleep(SECONDS / 2)
    projector.catch_up(place.engine, place.redis)
    yield


def _valkey(place: BenchSystem) -> int:
    found: Any = place.redis.info("server")
    return int(found["process_id"])


def _postgres(place: BenchSystem) -> list[int]:
    """The server first, then all its children."""
    with transaction(place.engine) as connection:
        session = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    server = _parent(session)
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [server, *(process for process in processes if _parent(process) == server)]


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _revocations(place: BenchSystem, valkey: int) -> float:
    """The longest of a few, from the commit to the first scan that shows it, in milliseconds."""
    delays = []
    visitor = Visitor(place.ports[0], "revocations")
    with _frozen([valkey]):
        _settled(place, "database")
        for index in range(REVOCATIONS):
            visitor.scan(place.paths[index])
            request = StatusRequest(
                scope=Scope.CODE, target=f"{place.batch.number}:{index}", action=Action.REVOKE,
                reason="counterfeit-confirmed", legal_basis="bench", notice="BENCH-2",
            )  # fmt: skip
            change.change(place.engine, request, caller=seed.DEMO, now=datetime.now(UTC))
            committed = time.monotonic()
            while visitor.scan(place.paths[index])["verdict"] != "revoked":
                if time.monotonic() > committed + PATIENCE_SECONDS:
                    raise SystemExit("a revocation was not seen")
            delays.append(time.monotonic() - committed)
    visitor.close()
    projector.catch_up(place.engine, place.redis)
    return round(max(delays) * 1000, 1)
