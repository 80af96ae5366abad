"""The processes of a running demo: which they are, and how much processor time they have used."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def further_process(home: Path, application: str, *options: str, **variables: str) -> Iterator[str]:
    """Another process of a service of the demo, with the settings of the one that runs and these; its base address."""
    settings = environment(find(home, application)) | variables
    settings.pop("ZPCODE_METRICS_ADDRESS", None)
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        command = [sys.executable, "-m", "uvicorn", "--factory", "--no-access-log", "--timeout-graceful-shutdown", "5",
                   "--fd", str(listener.fileno()), *options, application]  # fmt: skip
        process = subprocess.Popen(
            command,
            env=os.environ | settings,
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            process.terminate()
            process.wait(60)
