"""Several child processes on one listening socket, under a parent that only supervises them.

The parent replaces a child that died, and stops all children when it ends. If the parent is killed, its end of a pipe closes;
every child watches that pipe and ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from keys.sockets.listening import listen, prepare, sole_signer

Child = Callable[[socket.socket, int], None]
"""The work of a child on the listening socket, until the file descriptor becomes readable: the parent is gone."""

_RESPAWN_PAUSE = 0.2
_ENDING = (signal.SIGTERM, signal.SIGINT)
_LOG = logging.getLogger(__name__)


class Prefork:
    """`processes` children running `child` on a unix socket of the given path and mode."""

    def __init__(self, path: Path, mode: int, processes: int, child: Child) -> None:
        self._path, self._mode, self._processes, self._work = path, mode, processes, child
        self._children: dict[int, float] = {}
        self._parent_gone = -1
        self._parents_own: tuple[int, ...] = ()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises SignerError if the socket cannot be opened.

        It handles the signals of its process, which must have one thread only.
        """
        prepare(self._path)
        with sole_signer(self._path) as lock, listen(self._path, self._mode) as listener:
            self._parent_gone, alive = os.pipe()
            self._parents_own = (lock, alive)
            signal.pthread_sigmask(signal.SIG_BLOCK, [*_ENDING, signal.SIGCHLD])
            try:
                self._keep(listener)
            finally:
                self._end()
                self._path.unlink(missing_ok=True)

    def _keep(self, listener: socket.socket) -> None:
        for _ in range(self._processes):
            self._start(listener)
        _LOG.info("signing at %s with %d processes", self._path, self._processes)
        while signal.sigwait([*_ENDING, signal.SIGCHLD]) == signal.SIGCHLD:
            for pid in self._reaped():
                _LOG.error("signing process %d died and is replaced", pid)
                self._start(listener)

    def _reaped(self) -> list[int]:
        gone: list[int] = []
        while len(gone) < len(self._children) and (pid := os.waitpid(-1, os.WNOHANG)[0]):
            gone.append(pid)
        for pid in gone:
            if time.monotonic() - self._children.pop(pid) < 1:
                time.sleep(_RESPAWN_PAUSE)  # a child that always dies at once must not keep a core busy
        return gone

    def _start(self, listener: socket.socket) -> None:
        pid = os.fork()
        if pid == 0:
            self._child(listener)
        self._children[pid] = time.monotonic()

    def _child(self, listener: socket.socket) -> NoReturn:
        try:
            for descriptor in self._parents_own:  # a copy in the child would keep them open after the parent's end
                os.close(descriptor)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the children too, but the parent stops them
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            self._work(listener, self._parent_gone)
        except Exception:  # noqa: BLE001 - any error ends this process
            _LOG.exception("a signing process ends")
        finally:
            os._exit(1)  # the child must not return into the parent's code

    def _end(self) -> None:
        for pid in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self._children.clear()
