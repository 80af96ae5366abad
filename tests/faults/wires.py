"""Raw connections: what no decent client sends, and clients that take their time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

PATIENCE = 60.0


def connect(port: int, *, buffer: int | None = None) -> socket.socket:
    """A connection to a port of this machine; `buffer` bounds what the kernel takes in for it."""
    wire = socket.socket()
    if buffer is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    wire.settimeout(PATIENCE)
    wire.connect(("127.0.0.1", port))
    return wire


@contextlib.contextmanager
def many(port: int, number: int, *, buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """So many connections, open at the same time."""
    wires: list[socket.socket] = []
    try:
        wires.extend(connect(port, buffer=buffer) for _ in range(number))
        yield wires
    finally:
        for wire in wires:
            wire.close()


def until_closed(wire: socket.socket) -> bytes:
    """Everything the other side still says, to its end; a reset is an end, too."""
    told = b""
    with contextlib.suppress(ConnectionError):
        while piece := wire.recv(65536):
            told += piece
    return told


def tell(port: int, *pieces: bytes) -> bytes:
    """What the service says to these bytes until it hangs up. It may hang up before it has heard them all."""
    with connect(port) as wire:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
        return until_closed(wire)


def is_closed(wire: socket.socket) -> bool:
    """Whether the other side has hung up, without waiting; what it said before is thrown away."""
    wire.setblocking(False)
    try:
        while wire.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
