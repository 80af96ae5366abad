"""Child processes that never outlive their parent: each has a log file, and they are stopped in reverse order."""

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
from typing import BinaryIO

from zpcode.regular_files import open_own

STOP_SECONDS = 15
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class ChildExit:
    """A child that ended without being stopped, and its exit status (negative: the number of the signal)."""

    name: str
    status: int


def ended_with_parent(stop: signal.Signals) -> None:
    """Ask Linux to send `stop` to this process when its parent ends. Called in the child, before exec."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, stop)


class Processes:
    """Children of this process. `logs` is the directory for their output, one file for each child."""

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
        """Start a child in a session of its own: Ctrl-C then reaches the parent only, which stops its children in order.

        `user` is the user it runs as, if the parent is root. `stop` is the signal that asks it to end.
        """
        with self._opened_log(name) as output:
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
                preexec_fn=lambda: ended_with_parent(stop),  # noqa: PLW1509 - before any thread is started
            )
        self._running[name] = child, stop

    def log(self, name: str) -> Path:
        """The file with a child's output."""
        return self.logs / f"{name}.log"

    def _opened_log(self, name: str) -> BinaryIO:
        """The log file, open for appending. Only its owner reads it: output may contain what an outsider must not see."""
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.chmod(0o700)  # one of an earlier version may be open to all
        descriptor = open_own(self.log(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "ab")

    def pid(self, name: str) -> int:
        """A child's process id, to freeze or signal it."""
        return self._running[name][0].pid

    def unexpected_exit(self) -> ChildExit | None:
        """The first child that has ended without being stopped; None while all run."""
        for name, (child, _) in self._running.items():
            if child.poll() is not None:
                return ChildExit(name, child.returncode)
        return None

    def kill(self, name: str) -> None:
        """Kill a child and its process group with SIGKILL."""
        child, _ = self._running.pop(name)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def stop(self) -> None:
        """Stop every child, the last started first. A frozen child is resumed; one that does not end in 15 s is killed."""
        for child, stop in reversed(list(self._running.values())):
            if child.poll() is None:
                child.send_signal(signal.SIGCONT)
                child.send_signal(stop)
            try:
                child.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        self._running.clear()
