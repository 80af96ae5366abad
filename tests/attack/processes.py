"""The processes of a running demo: which they are, and how much processor time they have used."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def find(home: Path, command: str) -> int:
    """The process of the demo in `home` whose command line has this text. Raises LookupError if there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if command.encode() in words and b"ZPCODE_HOME=" + os.fsencode(home) in environment:
                return int(entry.name)
    raise LookupError(command)


def environment(process: int) -> dict[str, str]:
    """The environment of a process."""
    variables = Path(f"/proc/{process}/environ").read_text("utf-8").split("\0")
    return dict(variable.split("=", 1) for variable in variables if "=" in variable)


def processor_seconds(process: int) -> float:
    """Processor time of a process and of its children, living and ended (proc(5): utime, stime, cutime, cstime)."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == process:
                total += sum(map(int, fields[11:15])) / _TICKS
            elif int(fields[1]) == process:
                total += sum(map(int, fields[11:13])) / _TICKS
    return total
