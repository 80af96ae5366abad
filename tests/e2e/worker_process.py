"""Workers as processes that start within a moment: the real worker, forked off a process that has imported it already.

Starting an interpreter and importing takes most of a second, and a test that kills two hundred workers would spend
its time with that. What is killed is the whole worker all the same.
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
    """A worker with these settings, running. It writes `chunk` codes at a time; what it says goes to the end of `log`."""
    process = _NURSERY.Process(target=_run, args=(settings, log, chunk), daemon=True)
    process.start()
    return process


def ended(process: ForkServerProcess, how: signal.Signals) -> int | None:
    """End it in this way and return its exit status; it must have run until now."""
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
