"""The real demo command, in a new directory and on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

STOP_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Demo:
    """A running demo: its supervisor, its output, its addresses and a client of its API."""

    process: subprocess.Popen[str]
    printed: str
    home: Path
    api: httpx.Client

    @property
    def links(self) -> list[str]:
        """The printed scan links: product, lot, item, compact."""
        return re.findall(r"http://\S+/01/\S+", self.printed)

    @property
    def scan(self) -> str:
        """The scan service's address."""
        return str(re.findall(r"scan service\s+(http://\S+?)/\n", self.printed)[0])

    @property
    def tokens(self) -> dict[str, dict[str, str]]:
        """Authorization headers of the enterprise, the regulator and the operator."""
        kept = json.loads((self.home / "secrets" / "demo-api-keys.json").read_text("utf-8"))
        return {
            who: {"Authorization": f"Bearer {token}"}
            for who, (_, _, token) in zip(("enterprise", "regulator", "operator"), kept, strict=True)
        }


def command(home: Path, *options: str) -> list[str]:
    """The command line of a demo in this directory."""
    return [sys.executable, "-m", "zpcode", "demo", "--home", str(home), *options]


@contextmanager
def demo(home: Path, port: int) -> Iterator[Demo]:
    """A demo that is ready; at the end it gets SIGINT as by Ctrl-C."""
    port += 400 * int(
        os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    )  # two pytest workers never use the same ports
    options = ("--port", str(port), "--api-port", str(port + 50))
    process = subprocess.Popen(
        command(home, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed = _printed(process)
        base = str(re.findall(r"API\s+(http://\S+)/openapi.json", printed)[0])
        with httpx.Client(base_url=base, timeout=30) as api:
            yield Demo(process, printed, home, api)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOP_SECONDS)


def _printed(process: subprocess.Popen[str]) -> str:
    """The output up to the line that says how to stop."""
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C stops everything" in line:
            return "".join(lines)
    raise AssertionError(f"the demo ended: {''.join(lines)}")


def descendants(home: Path) -> list[str]:
    """Command lines of processes that name this directory, or have it in their environment."""
    command_lines = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            process_data = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            command_line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if os.fsencode(home) in process_data:
            command_lines.append(command_line)
    return command_lines
