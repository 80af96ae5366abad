"""A load generator about as fast as wrk: HTTP/1.1 on persistent connections, no parser, no library.

A client such as Locust uses more time for a request than the service, so it cannot find the service's limit. This one
sends prepared bytes and reads only the status and `Content-Length`. There are two kinds of load:

    closed loop    a connection sends its next request as soon as it has its answer: measures the throughput
    open loop      requests are sent at scheduled times, even when answers are late: measures the latency that a
                   visitor gets, waiting included (no coordinated omission)
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, cast

import uvloop

LENGTH: Final = b"content-length: "
END: Final = b"\r\n\r\n"
TICK: Final = 0.001  # the shortest sleep of uvloop; a shorter one does not sleep at all and becomes a busy loop


PHONES: Final = 997
_PHONE: Final = (
    "Mozilla/5.0 (Linux; Android 14; PHONE-{}) AppleWebKit/537.36 Mobile Safari/537.36 MicroMessenger/8.0.50"
)


def request(path: str, visitor: int = 0, host: str = "code.example") -> bytes:
    """The bytes of one scan as a balancer forwards them. Visitors have 16 million addresses and 997 phones."""
    return (
        f"GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {_PHONE.format(visitor % PHONES)}\r\n"
        "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
        "accept-language: zh-CN,zh;q=0.9,en;q=0.8\r\naccept-encoding: gzip, deflate, br\r\n"
        f"x-forwarded-for: 11.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}\r\n\r\n"
    ).encode("ascii")


@dataclass(slots=True)
class Measured:
    """The result: answers by status, bytes of the last body, total seconds, the wait for each answer in seconds.

    `broken` counts connections that the server closed before the end.
    """

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    body: int = 0
    waits: list[float] = field(default_factory=list)
    broken: int = 0

    @property
    def answers(self) -> int:
        """The number of answers."""
        return sum(self.statuses.values())

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def wait_ms(self, percent: float) -> float:
        """A percentile of the waits, in milliseconds."""
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000


class _Connection(asyncio.Protocol):
    """One persistent connection with at most one request at a time. `answered` is called when the answer is complete."""

    def __init__(self, measured: Measured, answered: Callable[[_Connection], None]) -> None:
        self.measured, self.answered = measured, answered
        self.transport: asyncio.Transport | None = None
        self.buffer = b""
        self.due = 0.0
        self.missing = -1  # bytes of the body that are missing; -1 until the head is complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, data: bytes, due: float) -> None:
        self.due = due
        if self.transport is not None:
            self.transport.write(data)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            data = self.buffer + data
            end = data.find(END)
            if end < 0:
                self.buffer = data
                return
            self.buffer = b""
            self._head(data[:end].lower())
            self.missing -= len(data) - end - len(END)
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.missing = -1
            self.answered(self)

    def _head(self, head: bytes) -> None:
        status = int(head[9:12])
        statuses = self.measured.statuses
        statuses[status] = statuses.get(status, 0) + 1
        start = head.find(LENGTH)
        self.missing = 0
        if start >= 0:
            self.missing = int(head[start + len(LENGTH) : head.find(b"\r", start) if b"\r" in head[start:] else None])
        self.measured.body = self.missing

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.measured.seconds:
            self.measured.broken += 1


async def _connect(
    port: int, count: int, measured: Measured, answered: Callable[[_Connection], None]
) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: _Connection(measured, answered), "127.0.0.1", port) for _ in range(count)
    ]
    return [protocol for _, protocol in made]


async def _closed_loop(port: int, requests: Iterator[bytes], connections: int, count: int, seconds: float) -> Measured:
    measured = Measured()
    done = asyncio.Event()
    sent = 0
    end = time.perf_counter() + seconds

    def send_next(connection: _Connection) -> None:
        nonlocal sent
        now = time.perf_counter()
        if connection.due:
            measured.waits.append(now - connection.due)
        data = next(requests, None) if sent < count and now < end else None
        if data is None:
            if measured.answers >= sent:
                done.set()
            return
        sent += 1
        connection.send(data, now)

    pool = await _connect(port, connections, measured, send_next)
    begun = time.perf_counter()
    for connection in pool:
        send_next(connection)
    await asyncio.wait_for(done.wait(), seconds + 10)
    measured.seconds = time.perf_counter() - begun
    for connection in pool:
        connection.close()
    return measured


async def _open_loop(port: int, requests: Iterator[bytes], connections: int, rate: float, seconds: float) -> Measured:
    measured = Measured()
    done = asyncio.Event()
    free: list[_Connection] = []
    waiting: deque[float] = deque()  # scheduled times of requests that wait for a free connection
    total, sent = int(rate * seconds), 0

    def answered(connection: _Connection) -> None:
        measured.waits.append(time.perf_counter() - connection.due)
        if waiting:
            connection.send(next(requests), waiting.popleft())
        else:
            free.append(connection)
        if measured.answers == total:
            done.set()

    pool = await _connect(port, connections, measured, answered)
    free += pool
    begun = time.perf_counter()
    while sent < total:
        while sent < total and (due := begun + sent / rate) <= time.perf_counter():
            sent += 1
            if free:
                free.pop().send(next(requests), due)
            else:
                waiting.append(due)
        await asyncio.sleep(TICK)
    await asyncio.wait_for(done.wait(), 60)
    measured.seconds = time.perf_counter() - begun
    for connection in pool:
        connection.close()
    return measured


def closed_loop(
    port: int, requests: Iterator[bytes], *, connections: int = 64, count: int = 10**9, seconds: float = 10
) -> Measured:
    """Send as fast as the service answers, until `count` requests, `seconds`, or the end of `requests`."""
    return uvloop.run(_closed_loop(port, requests, connections, count, seconds))


def open_loop(
    port: int, requests: Iterator[bytes], *, rate: float, connections: int = 64, seconds: float = 10
) -> Measured:
    """Send `rate` requests a second at even intervals for `seconds`. A wait begins at the scheduled time."""
    return uvloop.run(_open_loop(port, requests, connections, rate, seconds))
