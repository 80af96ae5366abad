"""`make bench-against REV=…`: compares the scan path of this tree with that of an older revision.

Two systems are started, each prepared by the code of its tree: PostgreSQL, Valkey, the signer, one batch, and one scan
process (`loadtests.bench.prepared`). The older tree is a git worktree. Both scan processes have the same core, the servers
share the others. Each round measures both, and the order alternates from round to round. The ratio new ÷ old is computed
within each round, so it does not change when the machine becomes slower or faster. The figure is the median of the rounds.

    repeat_ratio, first_ratio            answers per second, new ÷ old; must be ≥ 0.97
    repeat_cpu_ratio, first_cpu_ratio    the process's own processor time for an answer, old ÷ new

`repeat` scans codes that the process has verified before, each by another visitor; `first` scans each sealed code for the
first time. Processor time varies less on a busy machine. It does not contain the time that Redis needs.

Both trees use the dependencies that are installed now.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.bench.http_client import closed_loop, request
from loadtests.bench.speed import measured_core, move

MUST: Final = 0.97
"""A change may make the scan path at most 3 % slower."""
ROUNDS: Final = 9
CODES: Final = 200_000
KNOWN: Final = 2000
VISITORS: Final = 20
SECONDS: Final = 2.0
TARGET: Final = Path("build/bench-against.json")


@dataclass(frozen=True, slots=True)
class Rates:
    """One process in one round: answers per second, and processor time for an answer in µs."""

    repeat: float
    first: float
    repeat_us: float
    first_us: float


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """A revision's tree in a folder that is removed afterwards. Raises SystemExit where git does not have the revision."""
    with tempfile.TemporaryDirectory(prefix="zpcode-against-") as folder:
        tree = Path(folder) / "tree"
        added = subprocess.run(["git", "worktree", "add", "--detach", "--force", tree, revision],  # noqa: S603, S607 - our own
                              capture_output=True, text=True, check=False)  # fmt: skip
        if added.returncode:
            raise SystemExit(f"git: {added.stderr.strip()}")
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], check=False, capture_output=True)  # noqa: S603, S607 - the same


@dataclass(frozen=True, slots=True)
class PreparedSystem:
    """One tree's system: port and process of its scan service, and the paths of its codes in the order of their index."""

    port: int
    pid: int
    paths: list[str]


@contextmanager
def prepared(tree: Path) -> Iterator[PreparedSystem]:
    """A system that the code of `tree` has prepared; stopped afterwards. Raises SystemExit where it does not become ready.

    PYTHONPATH comes before the installed package, so `tree` is imported.
    """
    script = Path(__file__).with_name("prepared.py")
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    process = subprocess.Popen([sys.executable, script, tree, str(CODES)], env=environment, cwd=tree, text=True,  # noqa: S603 - our own
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    try:
        ready = process.stdout.readline() if process.stdout is not None else ""
        if not ready:
            raise SystemExit(f"the system of {tree} did not become ready")
        where = json.loads(ready)
        yield PreparedSystem(where["port"], where["pid"], json.loads(Path(where["paths"]).read_text("ascii")))
    finally:
        process.communicate()  # ends its standard input


def processor_seconds(pid: int) -> float:
    """User and system time of a process since its start, all threads (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rates(port: int, pid: int, known: Iterator[bytes], fresh: list[bytes]) -> Rates:
    """One process in one round. Raises SystemExit where an answer is not 200."""
    per_second, microseconds = [], []
    for requests in (known, iter(fresh)):
        before = processor_seconds(pid)
        measured = closed_loop(port, requests, seconds=SECONDS)
        if set(measured.statuses) != {200} or measured.broken:
            raise SystemExit(f"port {port} answered {measured.statuses}, {measured.broken} connections broke")
        per_second.append(measured.rate)
        microseconds.append((processor_seconds(pid) - before) / measured.statuses[200] * 1e6)
    return Rates(*per_second, *microseconds)


@dataclass(frozen=True, slots=True)
class _Side:
    """One system under test, with its requests: of codes that are known, again and again, and of fresh ones by round."""

    system: PreparedSystem
    known: Iterator[bytes]
    fresh: list[list[bytes]]

    def rates(self, number: int) -> Rates:
        return rates(self.system.port, self.system.pid, self.known, self.fresh[number])


def _side(system: PreparedSystem, rounds: int, core: int) -> _Side:
    """A system that has answered each known code, on the measured core."""
    fresh = [request(path, visitor) for visitor, path in enumerate(system.paths[KNOWN:])]
    known = [request(path, visitor) for visitor, path in enumerate(system.paths[:KNOWN] * VISITORS, CODES)]
    closed_loop(system.port, iter(known), seconds=60)
    move(system.pid, core)
    share = len(fresh) // rounds
    return _Side(system, itertools.cycle(known), [fresh[at * share : (at + 1) * share] for at in range(rounds)])


def measure(revision: str, rounds: int) -> list[tuple[Rates, Rates]]:
    """(new, old) of each round."""
    with checked_out(revision) as tree, measured_core() as core, prepared(Path.cwd()) as new, prepared(tree) as old:
        sides = {"new": _side(new, rounds, core), "old": _side(old, rounds, core)}
        pairs = []
        for number in range(rounds):
            order = ("new", "old") if number % 2 == 0 else ("old", "new")
            result = {name: sides[name].rates(number) for name in order}
            pairs.append((result["new"], result["old"]))
            sys.stdout.write(f"round {number + 1}: repeat {result['new'].repeat / result['old'].repeat:.3f}"
                             f" first {result['new'].first / result['old'].first:.3f}\n")  # fmt: skip
            sys.stdout.flush()
        return pairs


def ratios(pairs: list[tuple[Rates, Rates]]) -> dict[str, float]:
    """The median over the rounds of new ÷ old, and the rates themselves."""
    return {
        "repeat_ratio": round(statistics.median(new.repeat / old.repeat for new, old in pairs), 3),
        "first_ratio": round(statistics.median(new.first / old.first for new, old in pairs), 3),
        "repeat_cpu_ratio": round(statistics.median(old.repeat_us / new.repeat_us for new, old in pairs), 3),
        "first_cpu_ratio": round(statistics.median(old.first_us / new.first_us for new, old in pairs), 3),
        "repeat_per_s_new": round(statistics.median(new.repeat for new, _ in pairs)),
        "repeat_per_s_old": round(statistics.median(old.repeat for _, old in pairs)),
        "first_per_s_new": round(statistics.median(new.first for new, _ in pairs)),
        "first_per_s_old": round(statistics.median(old.first for _, old in pairs)),
    }


def main() -> int:
    """Measure, print, write build/bench-against.json. Exit status 1 where a ratio is below 0.97."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revision", help="a commit, tag or branch of this repository")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="an odd number from 1 up (default 9)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    figures = ratios(measure(options.revision, options.rounds))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps({"revision": options.revision, "rounds": options.rounds, "figures": figures,
                                  "cores": len(os.sched_getaffinity(0))}, indent=2) + "\n", "utf-8")  # fmt: skip
    slow = [name for name in ("repeat_ratio", "first_ratio") if figures[name] < MUST]
    for name, figure in figures.items():
        sys.stdout.write(f"{name:18} {figure}\n")
    for name in slow:
        sys.stderr.write(f"missed: {name} = {figures[name]}, must be ≥ {MUST}\n")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
