"""Workers that start quickly: the real worker, forked from a process that has already imported it.

Starting an interpreter and importing takes most of a second: too long for a test that kills two hundred workers.
The killed process is still a complete worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from zpcode import worker
from zpcode.services.batches import code_file
from zpcode.settings import AuthoritySettings

_NURSERY: Final = multiprocessing.get_context("forkserver")
_NURSERY.set_forkserver_preload(["tests.e2e.worker_process"])


def started(settings: AuthoritySettings, log: Path, *, chunk: int = code_file.CHUNK) -> ForkServerProcess:
    """Start a worker with these settings. It writes `chunk` codes at a time and appends its output to `log`."""
    process = _NURSERY.Process(target=_run, args=(settings, log, chunk), daemon=True)
    process.start()
    return process


def ended(process: ForkServerProcess, how: signal.Signals) -> int | None:
    """Send this signal and return the exit status; the worker must still be running."""
    assert process.exitcode is None, "the worker had ended by itself"
    assert process.pid is not None
    os.kill(process.pid, how)
    process.join(20)
    status = process.exitcode
    process.close()
    return status


def _run(settings: AuthoritySettings, log: Path, chunk: int) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    setattr(code_file, "CHUNK", chunk)  # noqa: B010 - a constant everywhere but here
    worker.main(settings)
