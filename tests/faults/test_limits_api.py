"""Too large, too slow and malformed requests to API and portal, without a proxy in front.

A problem document where HTTP still allows one, else a line of text and a closed connection.
"""

from __future__ import annotations

import json
import socket
import threading
from asyncio import Transport
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import ClassVar

import pytest
import uvicorn
from fastapi import FastAPI

from tests.faults.ambiguous import AMBIGUOUS
from tests.faults.wires import connect, exchange, many, padded, until_closed
from tests.support.authority import app, here
from tests.support.patience import eventually
from zpcode.api.http.context import Authority
from zpcode.request_bounds import HEAD_BYTES, MAX_FIELDS
from zpcode.rules.access import Caller, Role
from zpcode.server import BODY_BYTES, AuthorityProtocol
from zpcode.services import access

__all__ = ["app", "here"]
OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")


class ImpatientProtocol(AuthorityProtocol):
    """Times of 0.2 s."""

    head_seconds = take_seconds = body_seconds = 0.2


class HandheldProtocol(AuthorityProtocol):
    """No period of a body ends by itself."""

    body_seconds = 3600
    connections_made: ClassVar[list[HandheldProtocol]] = []

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.connections_made.append(self)


def brought(connection: AuthorityProtocol, size: int) -> bool:
    """Whether the present period has brought this many bytes."""
    return connection.window_bytes == size


@contextmanager
def served(app: FastAPI, protocol: type[AuthorityProtocol] = AuthorityProtocol) -> Iterator[int]:
    """The port of an application as deploy/systemd runs it, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = uvicorn.Config(
            app, http=protocol, ws="none", log_config=None, access_log=False, server_header=False, timeout_keep_alive=75
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        eventually(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    """The API with the times that it has in production."""
    with served(app) as port:
        yield port


@pytest.fixture
def impatient(app: FastAPI) -> Iterator[int]:
    """The API with times of 0.2 s."""
    with served(app, ImpatientProtocol) as port:
        yield port


@pytest.fixture
def key(here: Authority, now: datetime) -> bytes:
    """The Authorization header of the operator."""
    token = access.create(here.engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now).token
    return b"authorization: Bearer " + token.encode("ascii")


def request(path: str, *headers: bytes, method: bytes = b"GET") -> bytes:
    """The head of a request, as bytes."""
    return b"\r\n".join((method + b" " + path.encode() + b" HTTP/1.1", b"host: api", *headers)) + b"\r\n\r\n"


def is_well(port: int) -> bool:
    """Whether the API answers."""
    return exchange(port, request("/healthz", b"connection: close")).startswith(b"HTTP/1.1 200 ")


def test_a_head_that_is_too_large_ends_the_connection(port: int, key: bytes) -> None:
    heads = (
        request("/v1/batches", key, b"x: " + b"a" * 128 * 1024),
        request("/v1/batches?" + "a" * 128 * 1024, key),
        request("/v1/batches", key, *(b"a%d: bbbbbbbb" % n for n in range(10_000))),
    )
    for head in heads:
        received = exchange(port, head)
        assert received.startswith(b"HTTP/1.1 431 ")
        assert received.count(b"HTTP/1.1 ") == 1
    assert is_well(port)


def test_a_head_is_as_large_as_documented_and_not_a_byte_larger(port: int, key: bytes) -> None:
    for size, expected in ((HEAD_BYTES, b"200"), (HEAD_BYTES + 1, b"431"), (40_000, b"431")):
        head = padded(request("/v1/batches", key, b"connection: close"), size)
        assert exchange(port, head)[9:12] == expected
        assert exchange(port, head[:20_000], head[20_000:])[9:12] == expected
    for fields, expected in ((MAX_FIELDS, b"200"), (MAX_FIELDS + 1, b"431")):
        more = (b"a%d: b" % n for n in range(fields - 3))  # host, key and connection are there
        assert exchange(port, request("/v1/batches", key, b"connection: close", *more))[9:12] == expected


def test_a_body_that_is_too_large_is_refused_before_it_was_read(port: int, key: bytes) -> None:
    """Declared in Content-Length, and in chunks without end; without a valid key the body is not read."""
    json_type, piece = b"content-type: application/json", b" " * 65536
    chunk = b"10000\r\n" + piece + b"\r\n"
    for path in ("/v1/status-changes", "/v1/registry/imports"):
        declared = request(path, key, json_type, b"content-length: 104857600", method=b"POST")
        chunked = request(path, key, json_type, b"transfer-encoding: chunked", method=b"POST")
        for received in (exchange(port, declared, *[piece] * 1600), exchange(port, chunked, *[chunk] * 1600)):
            assert received.startswith(b"HTTP/1.1 413 ")
            problem = json.loads(received.partition(b"\r\n\r\n")[2])
            assert problem["type"] == "/problems/body-too-large"
            assert problem["languages"].keys() == {"zh", "en"}
    stranger = request("/v1/registry/imports", json_type, b"content-length: 104857600", method=b"POST")
    with connect(port) as wire:
        wire.sendall(stranger)
        assert wire.recv(65536).startswith(b"HTTP/1.1 401 ")
    assert is_well(port)


def test_what_two_servers_could_read_differently_is_refused(port: int) -> None:
    """The next request on the connection is not answered, so that no request can be smuggled in."""
    for name, sent in AMBIGUOUS.items():
        received = exchange(port, sent + request("/healthz", b"connection: close"))
        assert received.count(b"HTTP/1.1 ") == 1, name
        assert received.startswith(b"HTTP/1.1 400 "), name
        assert "请求不是有效的 HTTP / this is not valid HTTP" in received.decode(), name


def test_a_request_that_does_not_arrive_is_not_waited_for(impatient: int) -> None:
    """An unused connection is closed without a response, an incomplete head with 408; also after a first request."""
    for sent in (b"", b"GET / HTT", b"GET /v1/batches HTTP/1.1\r\nhost: a\r\n"):
        received = exchange(impatient, sent)
        assert received == b"" if not sent else received.startswith(b"HTTP/1.1 408 ")
        if sent:
            assert exchange(impatient, request("/healthz") + sent).count(b"HTTP/1.1 ") == 2


def test_a_body_that_stops_or_drips_is_not_waited_for(impatient: int, key: bytes) -> None:
    """A body that does not bring 32 KiB in each period is refused, however often a byte of it comes."""
    head = request("/v1/registry/imports", key, b"content-type: application/json", b"content-length: 100000", method=b"POST")  # fmt: skip
    assert exchange(impatient, head, b"{").startswith(b"HTTP/1.1 408 ")
    with connect(impatient) as wire:
        wire.sendall(head)
        wire.settimeout(0.01)
        received = b""

        def refused() -> bool:
            nonlocal received
            try:
                wire.sendall(b" ")
                received += wire.recv(65536)
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            return b"\r\n\r\n" in received

        eventually(refused)
        assert received.startswith(b"HTTP/1.1 408 ")
    assert is_well(impatient)


def test_a_slow_body_is_read_as_long_as_it_keeps_coming(app: FastAPI, key: bytes) -> None:
    """The periods end when the test says so: three bring enough, the fourth a byte too little."""
    head = request("/v1/registry/imports", key, b"content-type: application/json", b"content-length: 1000000",
                   method=b"POST")  # fmt: skip
    with served(app, HandheldProtocol) as port, connect(port) as wire:
        wire.sendall(head)
        (connection,) = eventually(lambda: HandheldProtocol.connections_made)
        eventually(lambda: connection.body_of)
        for size in (BODY_BYTES, BODY_BYTES, BODY_BYTES, BODY_BYTES - 1):
            wire.sendall(b" " * size)
            eventually(partial(brought, connection, size))
            connection.loop.call_soon_threadsafe(connection._window_ended)
            eventually(lambda: connection.transport.is_closing() or brought(connection, 0))
            assert connection.transport.is_closing() == (size < BODY_BYTES)
        assert until_closed(wire).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_nobody_reads_ends(port: int) -> None:
    """Without a valid key the response is sent at once, and of the body no more than 16 MiB is taken."""
    head = request("/v1/registry/imports", b"content-type: application/json", b"transfer-encoding: chunked", method=b"POST")  # fmt: skip
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with connect(port) as wire:
        wire.sendall(head)
        assert wire.recv(65536).startswith(b"HTTP/1.1 401 ")
        with pytest.raises(ConnectionError):  # noqa: PT012 - it ends at some piece
            for _ in range(5000):
                wire.sendall(chunk)
    whole = request("/v1/registry/imports", b"content-length: 8000000", method=b"POST") + b" " * 8_000_000
    received = exchange(port, whole, request("/healthz", b"connection: close"))
    assert [piece[:3] for piece in received.split(b"HTTP/1.1 ")[1:]] == [b"401", b"200"]


def test_a_response_that_is_not_read_is_not_kept(impatient: int) -> None:
    """A client that sends requests and reads no response: the connection is closed."""
    with connect(impatient, buffer=4096) as wire:
        wire.setblocking(False)

        def broken_off() -> bool:
            try:
                wire.send(request("/openapi.json") * 20)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        assert eventually(broken_off, 60)
    assert is_well(impatient)


def test_many_silent_connections_disturb_nobody(port: int, key: bytes) -> None:
    """Two hundred connections that send nothing and a hundred that stop in the middle of a body."""
    with many(port, 200), many(port, 100) as stopped:
        for wire in stopped:
            wire.sendall(
                request("/v1/batches", key, b"content-type: application/json", b"content-length: 500", method=b"POST")
            )
        for _ in range(20):
            with connect(port) as wire:
                wire.sendall(request("/v1/products", key, b"connection: close"))
                assert until_closed(wire).startswith(b"HTTP/1.1 200 ")
