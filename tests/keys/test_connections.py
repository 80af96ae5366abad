"""The connections of a signing process: those that stall wait, and keep nobody from being answered.

The times are so long that no test depends on them.
"""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keys.sockets.connections import MAX_UNREAD, MAX_WAITING, Connections
from keys.sockets.listening import listen
from tests.support.patience import eventually

OTHER_USER = 64_999
FOREVER = 3600.0
BIG = 4 << 20


class ServingThread:
    """One process's connections, in a thread: `b"big"` is answered with 4 MiB, everything else with itself."""

    def __init__(self, path: Path, **seconds: float) -> None:
        self.path = path
        self.listener = listen(path, 0o666)
        uids = frozenset({os.geteuid(), OTHER_USER})
        self.connections = Connections(self.listener, uids, self.answer, **seconds)
        gone, self.end = os.pipe()
        self.thread = threading.Thread(target=self.connections.serve, args=(gone,))
        self.resources = ExitStack()
        self.thread.start()

    @staticmethod
    def answer(body: bytes | None, _: int) -> bytes:
        """What a frame is answered with."""
        return b"refused" if body is None else b"x" * BIG if body == b"big" else body

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection that has sent so much; the test's end closes it."""
        connection = self.resources.enter_context(socket.socket(socket.AF_UNIX))
        connection.connect(str(self.path))
        connection.sendall(data)
        return connection

    def stop(self) -> None:
        """End the thread and close all."""
        os.close(self.end)
        self.thread.join()
        self.listener.close()
        self.resources.close()


def framed(body: bytes) -> bytes:
    """A frame."""
    return struct.pack(">I", len(body)) + body


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    data = b""
    while piece := connection.recv(1 << 20):
        data += piece
    return data


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has neither closed it nor sent anything."""
    try:
        connection.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def serving() -> Iterator[ServingThread]:
    """A process that waits for an hour."""
    with tempfile.TemporaryDirectory(prefix="zp-") as folder:
        Path(folder).chmod(0o755)
        thread = ServingThread(Path(folder) / "s", request_seconds=FOREVER, answer_seconds=FOREVER)
        yield thread
        thread.stop()


@pytest.mark.parametrize("sent", [b"", b"\0\0", framed(b"x" * 1000)[:500]])
def test_a_request_is_answered_while_sixty_connections_are_silent(serving: ServingThread, sent: bytes) -> None:
    silent = [serving.connect(sent) for _ in range(60)]
    assert received(serving.connect(framed(b"real"))) == b"real"
    assert [is_open(one) for one in silent] == [True] * 60


def test_a_silent_connection_that_goes_on_is_answered_too(serving: ServingThread) -> None:
    slow = [serving.connect() for _ in range(3)]
    for byte in framed(b"slow"):
        for one in slow:
            one.sendall(bytes([byte]))
        assert received(serving.connect(framed(b"real"))) == b"real"
    assert [received(one) for one in slow] == [b"slow"] * 3


def test_answers_that_nobody_reads_keep_nobody_waiting_and_only_a_few_are_kept(serving: ServingThread) -> None:
    unread = [serving.connect(framed(b"big")) for _ in range(MAX_UNREAD + 3)]
    assert received(serving.connect(framed(b"real"))) == b"real"
    read = [len(received(one)) for one in unread]
    assert read[3:] == [BIG] * MAX_UNREAD
    assert max(read[:3]) < BIG


def test_beyond_the_bound_the_oldest_silent_connections_are_closed(serving: ServingThread) -> None:
    silent = [serving.connect() for _ in range(MAX_WAITING + 20)]
    assert received(serving.connect(framed(b"real"))) == b"real"
    still = [is_open(one) for one in silent]
    assert still == sorted(still)
    assert MAX_WAITING - 1 <= sum(still) <= MAX_WAITING, "the real one may have waited too"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_connections_of_one_user_do_not_close_those_of_another(serving: ServingThread) -> None:
    script = (
        "import os, socket, sys\n"
        f"os.setgid(0); os.setuid({OTHER_USER})\n"
        "mine = socket.socket(socket.AF_UNIX); mine.connect(sys.argv[1]); print('connected', flush=True)\n"
        "input()\n"
        "mine.sendall(b'\\0\\0\\0\\4real'); print(mine.recv(9))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(serving.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "connected\n"
        silent = [serving.connect() for _ in range(2 * MAX_WAITING)]
        assert received(serving.connect(framed(b"real"))) == b"real"
        assert other.communicate("\n")[0] == "b'real'\n"
    assert [is_open(one) for one in silent[:MAX_WAITING]] == [False] * MAX_WAITING


def test_a_frame_that_is_too_long_is_refused_before_it_was_sent(serving: ServingThread) -> None:
    assert received(serving.connect(b"\xff\xff\xff\xff")) == b"refused"


def test_a_client_that_hangs_up_costs_nothing(serving: ServingThread) -> None:
    for data in (b"", b"\0", framed(b"big")):
        serving.connect(data).close()
    assert received(serving.connect(framed(b"real"))) == b"real"


def test_what_stalls_is_closed_after_its_time() -> None:
    with tempfile.TemporaryDirectory(prefix="zp-") as folder:
        hurried = ServingThread(Path(folder) / "s", request_seconds=0.05, answer_seconds=0.05)
        try:
            silent, unread = hurried.connect(b"\0"), hurried.connect(framed(b"big"))
            assert received(silent) == b""
            eventually(lambda: not hurried.connections._waiting)
            assert len(received(unread)) < BIG
        finally:
            hurried.stop()
