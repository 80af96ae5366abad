"""Raw TCP connections: malformed requests and slow clients."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

TIMEOUT_SECONDS = 60.0


def connect(port: int, *, buffer: int | None = None) -> socket.socket:
    """A connection to a port of this machine; `buffer` bounds the kernel's receive buffer for it."""
    wire = socket.socket()
    if buffer is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    wire.settimeout(TIMEOUT_SECONDS)
    wire.connect(("127.0.0.1", port))
    return wire


@contextlib.contextmanager
def many(port: int, number: int, *, buffer: int | None = None) -> Iterator[list[socket.socket]]:
    """This many connections, open at the same time."""
    wires: list[socket.socket] = []
    try:
        wires.extend(connect(port, buffer=buffer) for _ in range(number))
        yield wires
    finally:
        for wire in wires:
            wire.close()


def until_closed(wire: socket.socket) -> bytes:
    """Everything the other side still sends, until it closes or resets the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := wire.recv(65536):
            received += piece
    return received


def exchange(port: int, *pieces: bytes) -> bytes:
    """Send these bytes; returns everything the service sends until it closes. It may close before it has read them all."""
    with connect(port) as wire:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                wire.sendall(piece)
        return until_closed(wire)


def padded(head: bytes, size: int) -> bytes:
    """A head of exactly this many bytes: the last field is as long as it takes."""
    fields = head.removesuffix(b"\r\n\r\n") + b"\r\nx: "
    return fields.ljust(size - 4, b"a") + b"\r\n\r\n"


def is_closed(wire: socket.socket) -> bool:
    """Whether the other side has hung up, without waiting; what it sent before is discarded."""
    wire.setblocking(False)
    try:
        while wire.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
