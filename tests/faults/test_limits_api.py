"""Too large requests to the API: a problem document where HTTP still allows one, else a closed connection."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import datetime

import pytest
import uvicorn

from tests.faults.wires import connect, exchange, many, until_closed
from tests.support.authority import app, here
from tests.support.patience import eventually
from zpcode.api.http.context import Authority
from zpcode.rules.access import Caller, Role
from zpcode.services import access

__all__ = ["app", "here"]
OPERATOR = Caller(Role.OPERATOR, "*", "cli:test")


@pytest.fixture
def port(app: object) -> Iterator[int]:
    """The API as deploy/systemd runs it, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, http="h11", ws="none", log_config=None, access_log=False, server_header=False)  # type: ignore[arg-type]
        )
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        eventually(lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def key(here: Authority, now: datetime) -> bytes:
    """The Authorization header of the operator."""
    token = access.create(here.engine, Role.OPERATOR, "*", caller=OPERATOR, now=now).token
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
        assert not received or received.startswith(b"HTTP/1.1 400 ")
        assert received.count(b"HTTP/1.1 ") <= 1
    assert is_well(port)


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


AMBIGUOUS = (
    b"POST /v1/batches HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    b"POST /v1/batches HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"GET /v1/batches HTTP/1.1\r\nhost : a\r\n\r\n",
    b"GET /v1/batches HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
)


def test_what_two_servers_could_read_differently_is_refused(port: int) -> None:
    """The next request on the connection is not answered."""
    for sent in AMBIGUOUS:
        received = exchange(port, sent + request("/healthz", b"connection: close"))
        assert received.count(b"HTTP/1.1 ") == 1, sent
        assert received[9:10] in {b"4", b"5"}, sent


def test_a_length_beside_chunks_smuggles_nothing_in(port: int) -> None:
    """h11 reads the chunks, as RFC 9112 (6.3) says: a request hidden in them is a body, one behind them a request."""
    hidden = request("/healthz", b"connection: close")
    head = request("/v1/batches", b"content-length: 4", b"transfer-encoding: chunked", method=b"POST")
    received = exchange(
        port, head + b"%x\r\n" % len(hidden) + hidden + b"\r\n0\r\n\r\n" + request("/v1/none", b"connection: close")
    )
    assert [piece[:3] for piece in received.split(b"HTTP/1.1 ")[1:]] == [b"401", b"404"]


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
