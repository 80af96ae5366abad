"""A family of child processes that leaves nobody behind: each with its log file, ended in reverse order."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 15
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that ended by itself, and its exit status (negative: the signal)."""

    name: str
    status: int


def _ended_with_parent(stop: signal.Signals) -> None:
    """In the child, before exec: ask Linux to send `stop` when the parent dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop)


class Processes:
    """Children of this process. `logs` is the directory their output goes to, one file each."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[str, tuple[subprocess.Popen[bytes], signal.Signals]] = {}

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: pwd.struct_passwd | None = None,
        stop: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start a child in a session of its own, so that Ctrl-C reaches us and we end it in order.

        `user` is whom it runs as when we are root; `stop` is the signal that ends it politely.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as output:
            child = subprocess.Popen(
                [os.fspath(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/" if user else None,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
                preexec_fn=lambda: _ended_with_parent(stop),  # noqa: PLW1509 - before any thread is started
            )
        self._running[name] = child, stop

    def log(self, name: str) -> Path:
        """Where a child's output is."""
        return self.logs / f"{name}.log"

    def pid(self, name: str) -> int:
        """A child's process id, for whoever wants to freeze or signal it."""
        return self._running[name][0].pid

    def ended(self) -> Ended | None:
        """The first child found to have ended by itself, or None while all run."""
        for name, (child, _) in self._running.items():
            if child.poll() is not None:
                return Ended(name, child.returncode)
        return None

    def kill(self, name: str) -> None:
        """End a child as a power cut would."""
        child, _ = self._running.pop(name)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def stop(self) -> None:
        """End every child, the last started first; a frozen one is woken, a stubborn one is killed."""
        for child, polite in reversed(list(self._running.values())):
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.send_signal(polite)
            try:
                child.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._running.clear()
