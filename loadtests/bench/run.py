"""`make bench`: every figure the project promises, measured on this machine, printed and written to build/bench.json.

Rates are ratios within one run, because machines are noisy. Exit status 1 where a figure misses its bar.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from loadtests.bench.faults import fault_figures
from loadtests.bench.issue import issue_figures
from loadtests.bench.scan import scan_figures
from loadtests.bench.speed import speed_figures

# name -> (is a higher figure better, the bar)
BARS = {
    "issue_ratio": (True, 0.8),
    "issue_rss_mb": (False, 200.0),
    "scan_repeat_ratio": (True, 0.75),
    "scan_first_ratio": (True, 0.85),
    "scan_p99_ms_at_70": (False, 20.0),
    "redis_round_trips_per_scan": (False, 1.0),
    "db_queries_per_warm_scan": (False, 0.0),
    "revoke_visible_ms_p99": (False, 100.0),
    "revoke_batch_vs_code": (False, 2.0),
    "redis_bytes_per_issued_code": (False, 1.0),
    "redis_bytes_per_scanned_code": (False, 64.0),
    "fault_redis_frozen_p99_ms": (False, 300.0),
    "fault_redis_killed_p99_ms": (False, 300.0),
    "fault_redis_flushed_p99_ms": (False, 300.0),
    "fault_postgres_stopped_p99_ms": (False, 300.0),
    "fault_revoke_visible_ms_max": (False, 1000.0),
}


def missed(figures: Mapping[str, float]) -> list[str]:
    """The figures that miss their bar, or were not measured, in words. A negative one says that it could not be had."""
    found = []
    for name, (higher, bar) in BARS.items():
        figure = figures.get(name)
        if figure is None or figure < 0:
            found.append(f"{name}: not measured ({figure})")
        elif (figure < bar) if higher else (figure > bar):
            found.append(f"{name} = {figure}, bar {'≥' if higher else '≤'} {bar}")
    return found


def main() -> int:
    """Measure, print and write; the exit status says whether every bar was met."""
    figures: dict[str, float] = {}
    for measure in (speed_figures, scan_figures, fault_figures, issue_figures):
        # One's memory must not be another's figure; and what measures may start processes of its own.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            figures |= apart.submit(measure).result()
    machine = {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }
    target = Path("build/bench.json")
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"figures": figures, "machine": machine}, indent=2) + "\n", "utf-8")
    for name, figure in figures.items():
        sys.stdout.write(f"{name:32} {figure}\n")
    for line in missed(figures):
        sys.stderr.write(f"missed: {line}\n")
    return 1 if missed(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
