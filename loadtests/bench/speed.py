"""How fast one scan process is on one core, compared with a server that does nothing.

The measured process has one core; Valkey, PostgreSQL and the client share the others. Each round measures all servers in
turn, and a ratio is computed within its round. The figure is the median of the rounds.

    scan_repeat_ratio        scans of codes verified before, each by another visitor ÷ empty answers of the same size on
                             the same server, in plain ASGI messages
    scan_repeat_whole_ratio  the same scans ÷ empty answers in one prepared message, as scans are sent
    scan_first_ratio         first scans of distinct sealed codes ÷ 1 / (time of an empty answer + time of one raw ECDSA
                             verification in a loop)
    scan_first_floor_ratio   the same scans ÷ answers of a server that only verifies one signature
    scan_p99_ms_at_70        waits of repeated scans at 70 % of their throughput, open loop, from the scheduled time
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis import Redis

from loadtests.bench import empty_app
from loadtests.bench.http_client import Measured, closed_loop, open_loop, request
from loadtests.bench.system import GRANIAN, SCAN, UVICORN, BenchSystem, running

CODES: Final = int(os.environ.get("ZPCODE_BENCH_SCAN_CODES", "1000000"))
SCANNED: Final = CODES // 10
KNOWN: Final = 2000
VISITORS: Final = 20  # for each known code: more than a history stores, so that every view is counted
ROUNDS: Final = 7
SECONDS: Final = 1.0
OPEN_SECONDS: Final = 8.0
SHARE: Final = 0.7


@dataclass(slots=True)
class Round:
    """Answers per second of each server, and seconds for one verification."""

    empty_app: float
    whole: float
    verifying: float
    repeat: float
    first: float
    granian: float
    verification: float


@dataclass(slots=True)
class Bench:
    """The servers under test, and the requests for them."""

    ports: dict[str, int]
    known: Iterator[bytes]
    fresh: list[bytes]
    core: int
    rounds: list[Round] = field(default_factory=list)

    def rate(self, name: str, requests: Iterator[bytes]) -> float:
        """Answers per second of one server. Raises SystemExit where one is not 200."""
        measured = closed_loop(self.ports[name], requests, seconds=SECONDS)
        if set(measured.statuses) != {200} or measured.broken:
            raise SystemExit(f"{name} answered {measured.statuses}")
        return measured.rate

    def measure(self) -> None:
        """Measure one round."""
        share = len(self.fresh) // (ROUNDS + 1)
        first = len(self.rounds) * share
        self.rounds.append(
            Round(
                self.rate("empty", self.known),
                self.rate("whole", self.known),
                self.rate("verifying", self.known),
                self.rate("scan", self.known),
                self.rate("scan", iter(self.fresh[first : first + share])),
                self.rate("granian", self.known),
                verification(self.core),
            )
        )


def speed_figures() -> dict[str, float]:
    """All figures above, and the memory that Redis uses for each code."""
    with measured_core() as core, running(codes=CODES, scan_processes=0) as system:
        paths = system.paths[:: CODES // SCANNED]
        known = [request(path, visitor) for visitor, path in enumerate(paths[:KNOWN] * VISITORS, SCANNED)]
        scan = system.serve("scan", SCAN, server=(*UVICORN, "--factory"))
        warmed = closed_loop(scan, iter(known), seconds=60)
        size = {"ZPCODE_EMPTY_BYTES": str(warmed.body)}
        ports = {
            "scan": scan,
            "empty": system.serve("empty", "loadtests.bench.empty_app:app", **size),
            "whole": system.serve("whole", "loadtests.bench.empty_app:whole", **size),
            "verifying": system.serve("verifying", "loadtests.bench.empty_app:verifying", **size),
            "granian": system.serve("granian", SCAN, server=(*GRANIAN, "--factory")),
        }
        closed_loop(ports["granian"], iter(known), seconds=60)
        for name in ports:
            move(system.processes.pid(name), core)
        fresh = [request(path, visitor) for visitor, path in enumerate(paths[KNOWN:])]
        bench = Bench(ports, itertools.cycle(known), fresh, core)
        for _ in range(ROUNDS):
            bench.measure()
        waits = _waits_at_share(bench)
        rest = closed_loop(scan, iter(fresh), seconds=120)  # so that every tenth code has been scanned
        return _figures(bench, waits, warmed.body) | _memory(system, rest)


def _figures(bench: Bench, waits: Measured, body: int) -> dict[str, float]:
    def median(of: list[float]) -> float:
        return round(statistics.median(of), 3)

    rounds = bench.rounds
    return {
        "scan_repeat_ratio": median([one.repeat / one.empty_app for one in rounds]),
        "scan_repeat_whole_ratio": median([one.repeat / one.whole for one in rounds]),
        "scan_first_ratio": median([one.first * (1 / one.empty_app + one.verification) for one in rounds]),
        "scan_first_floor_ratio": median([one.first / one.verifying for one in rounds]),
        "scan_p99_ms_at_70": round(waits.wait_ms(99), 1),
        "granian_repeat_to_uvicorn": median([one.granian / one.repeat for one in rounds]),
        "empty_answers_per_s": round(statistics.median(one.empty_app for one in rounds)),
        "scan_repeat_per_s": round(statistics.median(one.repeat for one in rounds)),
        "scan_first_per_s": round(statistics.median(one.first for one in rounds)),
        "verification_us": round(1e6 * statistics.median(one.verification for one in rounds), 1),
        "page_bytes": body,
    }


def _waits_at_share(bench: Bench) -> Measured:
    rate = SHARE * statistics.median(one.repeat for one in bench.rounds)
    return open_loop(bench.ports["scan"], bench.known, rate=rate, seconds=OPEN_SECONDS)


def verification(core: int) -> float:
    """Seconds of one raw ECDSA verification on the measured core, while the servers are idle."""
    others, count = os.sched_getaffinity(0), 2000
    os.sched_setaffinity(0, {core})
    begun = time.process_time()
    for _ in range(count):
        empty_app.PUBLIC.verify(empty_app.SIGNATURE, empty_app.MESSAGE, empty_app.ALGORITHM)
    seconds = time.process_time() - begun
    os.sched_setaffinity(0, others)
    return seconds / count


@contextmanager
def measured_core() -> Iterator[int]:
    """The core for the measured process. Processes started inside the block run on the other cores until they are moved."""
    cores = os.sched_getaffinity(0)
    measured = min(cores)
    os.sched_setaffinity(0, cores - {measured} or cores)
    try:
        yield measured
    finally:
        os.sched_setaffinity(0, cores)


def move(pid: int, core: int) -> None:
    """Move a process, its threads and its children to one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
        for child in (thread / "children").read_text().split():
            move(int(child), core)


def _memory(system: BenchSystem, rest: Measured) -> dict[str, float]:
    """Bytes in Redis (`MEMORY USAGE`) of the batch's own keys, and of its histories."""
    if set(rest.statuses) - {200}:
        raise SystemExit(f"scans were answered {rest.statuses}")
    tag = f"zp:{{b:{system.batch.number}}}"
    admin = Redis.from_url(system.addresses.admin_redis)
    histories = issued = 0
    for key in admin.scan_iter(match=f"{tag}*", count=1000):
        size = int(admin.memory_usage(key, samples=0) or 0)
        if b":h:" in key:
            histories += size
        else:
            issued += size
    admin.close()
    return {
        "redis_bytes_per_issued_code": round(issued / system.batch.quantity, 4),
        "redis_bytes_per_scanned_code": round(histories / SCANNED, 1),
    }
