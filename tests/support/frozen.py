"""Stopped servers (SIGSTOP): they accept connections and answer nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def frozen(server: int) -> Iterator[None]:
    """Stop a process and its children; let them go on at the end."""
    os.kill(server, signal.SIGSTOP)  # first: then it has no new children
    family = [server, *children(server)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(family):
            os.kill(pid, signal.SIGCONT)


def children(parent: int) -> list[int]:
    """The processes that this one started. /proc/PID/task/*/children is not used: it may be incomplete while children end."""
    processes = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                processes.append(int(entry.name))
    return processes
