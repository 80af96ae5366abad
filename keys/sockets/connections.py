"""The connections of one process of the signer: many may wait, one at a time is answered.

A connection that sends nothing, or does not read its answer, only waits: it keeps nobody else from being answered. While the bytes of
a connection keep coming, no other one is accepted, so that the kernel gives that one to an idle process.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from keys.protocol import HEADER_BYTES, MAX_REQUEST, body_size
from keys.sockets.listening import peer_uid

REQUEST_SECONDS: Final = 2.0
"""A request must have come after this time."""
ANSWER_SECONDS: Final = 10.0
"""An answer must have been read after this time."""
MAX_WAITING: Final = 64
"""So many connections may wait. Beyond them, the user with the most of them loses the oldest."""
MAX_UNREAD: Final = 4
"""So many of them may wait with an answer that is not read: an answer has up to 4 MiB."""
_PROMPT_SECONDS: Final = 0.002
_PROMPT_RATE: Final = 10_000_000
"""Nobody else is accepted for 2 ms, and as long as a connection moves 10 MB a second."""
_RECEIVE_BYTES: Final = 1 << 18
_READ, _WRITE = select.POLLIN, select.POLLOUT
_LOG = logging.getLogger(__name__)

Answer = Callable[[bytes | None, int], bytes]
"""The frame that answers a frame's body from a user. The body is None if the user is not permitted, or its frame too long."""


class _Exchange:
    """One connection: its request as far as it has come, then its answer as far as it was read."""

    __slots__ = ("answer", "connection", "deadline", "request", "sent", "uid")

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        connection.setblocking(False)
        self.connection, self.deadline = connection, deadline
        self.uid = peer_uid(connection)
        self.request = bytearray()
        self.answer = memoryview(b"")
        self.sent = 0

    @property
    def awaits(self) -> int:
        """What it waits for: to become readable or writable."""
        return _WRITE if self.answer else _READ

    def receive(self) -> int:
        """Read what has come; returns the number of bytes. Raises EOFError if the client is gone, BlockingIOError if nothing has."""
        piece = self.connection.recv(_RECEIVE_BYTES)
        if not piece:
            raise EOFError
        self.request += piece
        return len(piece)

    def body(self) -> bytes | None:
        """The body of the request if all of it has come. Raises ValueError if it is too long."""
        if len(self.request) < HEADER_BYTES:
            return None
        size = body_size(self.request[:HEADER_BYTES])
        if size > MAX_REQUEST:
            raise ValueError("frame too long")
        end = HEADER_BYTES + size
        return bytes(memoryview(self.request)[HEADER_BYTES:end]) if len(self.request) >= end else None

    def send(self) -> int:
        """Send what can be sent; returns the number of bytes. Raises BlockingIOError if nothing can."""
        count = self.connection.send(self.answer[self.sent :])
        self.sent += count
        return count

    @property
    def done(self) -> bool:
        """Whether the answer was sent."""
        return bool(self.answer) and self.sent == len(self.answer)


class Connections:
    """Accepts connections of a non-blocking listening socket, and answers the requests of the users in `uids`."""

    def __init__(
        self,
        listener: socket.socket,
        uids: frozenset[int],
        answer: Answer,
        *,
        request_seconds: float = REQUEST_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._listener, self._uids, self._answer = listener, uids, answer
        self._request_seconds, self._answer_seconds = request_seconds, answer_seconds
        self._waiting: dict[int, _Exchange] = {}
        self._poll = select.poll()

    def serve(self, until_readable: int) -> None:
        """Serve until this file descriptor becomes readable."""
        self._poll.register(until_readable, _READ)
        self._poll.register(self._listener, _READ)
        while True:
            ready = {number for number, _ in self._poll.poll(self._patience())}
            if until_readable in ready:
                break
            for number in ready & self._waiting.keys():
                self._go_on(self._unpark(number))
            if self._listener.fileno() in ready:
                self._accept()
            self._drop_late()
        for number in list(self._waiting):
            self._close(self._unpark(number), "the signer ends")

    def _patience(self) -> float | None:
        """Milliseconds to the nearest deadline of a waiting connection; None if none waits."""
        if not self._waiting:
            return None
        nearest = min(one.deadline for one in self._waiting.values())
        return max(nearest - time.monotonic(), 0) * 1000 + 1

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another process accepted it, or the client is gone
            return
        exchange = _Exchange(connection, time.monotonic() + self._request_seconds)
        if exchange.uid not in self._uids:
            self._reply(exchange, None)
        self._go_on(exchange)

    def _go_on(self, exchange: _Exchange) -> None:
        """Read and answer as long as the bytes keep coming or going; else let it wait."""
        try:
            finished = self._moved(exchange)
        except (OSError, EOFError) as error:
            self._close(exchange, type(error).__name__)
            return
        if finished:
            exchange.connection.close()
        else:
            self._park(exchange)

    def _moved(self, exchange: _Exchange) -> bool:
        """Move the bytes of a connection. Returns True if its answer was sent, False if it has to wait."""
        until = time.monotonic() + _PROMPT_SECONDS
        while not exchange.done:
            try:
                count = exchange.send() if exchange.answer else exchange.receive()
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not _ready(exchange, left):
                    return False
                continue
            until += count / _PROMPT_RATE
            if not exchange.answer and self._try_to_answer(exchange):
                until = time.monotonic() + _PROMPT_SECONDS
        return True

    def _try_to_answer(self, exchange: _Exchange) -> bool:
        """Answer a request that has come completely, or is too long."""
        try:
            body = exchange.body()
        except ValueError:
            self._reply(exchange, None)
            return True
        if body is None:
            return False
        self._reply(exchange, body)
        return True

    def _reply(self, exchange: _Exchange, body: bytes | None) -> None:
        exchange.answer = memoryview(self._answer(body, exchange.uid))
        exchange.deadline = time.monotonic() + self._answer_seconds

    def _park(self, exchange: _Exchange) -> None:
        number = exchange.connection.fileno()
        self._waiting[number] = exchange
        self._poll.register(number, exchange.awaits)
        unread = [one for one in self._waiting.values() if one.answer]
        if len(unread) > MAX_UNREAD:
            self._close(self._unpark(unread[0].connection.fileno()), "too many unread answers")
        if len(self._waiting) > MAX_WAITING:
            most, _ = Counter(one.uid for one in self._waiting.values()).most_common(1)[0]
            oldest = next(number for number, one in self._waiting.items() if one.uid == most)
            self._close(self._unpark(oldest), "too many waiting connections")

    def _unpark(self, number: int) -> _Exchange:
        self._poll.unregister(number)
        return self._waiting.pop(number)

    def _drop_late(self) -> None:
        now = time.monotonic()
        for number in [number for number, one in self._waiting.items() if one.deadline <= now]:
            self._close(self._unpark(number), "stalled")

    def _close(self, exchange: _Exchange, why: str) -> None:
        exchange.connection.close()
        _LOG.info("a connection of user %d was closed: %s", exchange.uid, why)


def _ready(exchange: _Exchange, seconds: float) -> bool:
    """Whether a connection can go on within this time."""
    number = exchange.connection.fileno()
    reading, writing = ([number], []) if exchange.awaits == _READ else ([], [number])
    return any(select.select(reading, writing, [], seconds))
