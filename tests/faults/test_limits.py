"""Too large heads and bodies and malformed HTTP are refused in bounded memory; other requests are not affected."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import pytest

from keys.ceremony import KeyRoom
from tests.faults import tuned_protocol
from tests.faults.ambiguous import AMBIGUOUS
from tests.faults.scan_processes import TUNED_PROTOCOL, ScanProcess, environment, scan_process
from tests.faults.wires import connect, exchange, many, padded, until_closed
from tests.support import keyroom
from tests.support.patience import eventually
from tests.support.scan_factories import item_identity
from zpcode.embedded.servers import Servers
from zpcode.request_bounds import HEAD_BYTES, MAX_FIELDS

MIB = 1024


NOBODY = {"ZPCODE_SCAN_DATABASE_URL": "", "ZPCODE_SCAN_REDIS_URL": "redis://127.0.0.1:1"}


@pytest.fixture(scope="module")
def running(
    servers: Servers, scan_keys: tuple[KeyRoom, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScanProcess]:
    """One scan process for this module. It reaches neither server, so that every verdict is unconfirmed."""
    nobody = {
        "ZPCODE_SCAN_DATABASE_URL": "",
        "ZPCODE_SCAN_REDIS_URL": "redis://127.0.0.1:1",
        "ZPCODE_SCANS_PER_MINUTE": "0",
    }
    settings = environment(servers.addresses, scan_keys[0], **nobody)
    with scan_process(settings, tmp_path_factory.mktemp("scan") / "log") as scan:
        yield scan


@pytest.fixture
def code(scan_keys: tuple[KeyRoom, str]) -> str:
    """The path of a sealed code."""
    return sealed(scan_keys, 0)


@pytest.fixture
def scan(running: ScanProcess, code: str) -> Iterator[ScanProcess]:
    """The scan process. After each test it answers as before, and its log has no error."""
    yield running
    assert running.verdict(code) == "unconfirmed"
    log = running.log.read_text("utf-8")
    assert '"level": "error"' not in log
    assert "Traceback" not in log


def sealed(keys: tuple[KeyRoom, str], index: int) -> str:
    """The path of the sealed code of an item."""
    return keyroom.seal(*keys, item_identity(index)).path


def request(path: str, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A request as bytes, with a blank line after its head."""
    head = (method + b" " + path.encode() + b" HTTP/1.1", b"host: scan", b"accept: application/json", *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def status(received: bytes) -> int:
    """The status of the response; checks that there is only one."""
    assert received.count(b"HTTP/1.1 ") == 1, received[:2000]
    return int(received.split(b" ", 2)[1])


def test_a_head_that_is_too_large_is_refused(scan: ScanProcess, code: str) -> None:
    """One long field, very many short ones, a long path, a long query: 431, and no memory is kept."""
    before = scan.memory_kib()
    heads = (
        request(code, b"x: " + b"a" * 64 * 1024),
        request(code, *(b"a%d: b" % n for n in range(10_000))),
        request("/" + "A" * 64 * 1024),
        request(code + "?" + "a" * 64 * 1024),
    )
    for head in heads * 5:
        received = exchange(scan.port, head)
        assert status(received) == 431
        assert "请求头过大 / the header fields are too large" in received.decode()
        assert b"connection: close" in received
    assert scan.memory_kib() - before < 30 * MIB


def test_a_head_is_as_large_as_documented_and_not_a_byte_larger(scan: ScanProcess, code: str) -> None:
    """In one segment and in several: 32 KiB with its blank line, and 100 fields."""
    for size, expected in ((HEAD_BYTES, 200), (HEAD_BYTES + 1, 431), (40_000, 431)):
        head = padded(request(code, b"connection: close"), size)
        assert status(exchange(scan.port, head)) == expected
        assert status(exchange(scan.port, head[:20_000], head[20_000:])) == expected
    for fields, expected in ((MAX_FIELDS, 200), (MAX_FIELDS + 1, 431)):
        more = (b"a%d: b" % n for n in range(fields - 3))  # host, accept and connection are there
        assert status(exchange(scan.port, request(code, b"connection: close", *more))) == expected


def test_a_body_nobody_asked_for_is_not_read(scan: ScanProcess, code: str) -> None:
    """100 MB after a GET, and chunks without end: the connection is closed after some KiB."""
    before = scan.memory_kib()
    piece = b"a" * 65536
    received = exchange(scan.port, request(code, b"content-length: 104857600"), *[piece] * 1600)
    assert not received or status(received) in {200, 413}
    chunk = b"10000\r\n" + piece + b"\r\n"
    received = exchange(scan.port, request(code, b"transfer-encoding: chunked"), *[chunk] * 1600)
    assert not received or status(received) in {200, 413}
    trailers = b"".join(b"t%d: %s\r\n" % (n, b"b" * 100) for n in range(1000))
    received = exchange(scan.port, request(code, b"transfer-encoding: chunked"), b"0\r\n", trailers)
    assert not received or status(received) in {200, 413}
    assert scan.memory_kib() - before < 30 * MIB


def test_a_body_that_comes_before_its_answer_is_refused(scan: ScanProcess, code: str) -> None:
    """Head and body in one segment: no response was sent yet, so the client gets 413."""
    received = exchange(scan.port, request(code, b"content-length: 1000000", body=b"a" * 60_000))
    assert status(received) == 413
    assert "扫码不需要请求体 / the request is too large: a scan has no body" in received.decode()


def test_a_small_body_is_ignored_and_the_connection_kept(scan: ScanProcess, code: str) -> None:
    small = request(code, b"content-length: 5", body=b"hello")
    last = request(code, b"connection: close")
    received = exchange(scan.port, small + last)
    assert received.count(b"HTTP/1.1 200 ") == received.count(b'"verdict":"unconfirmed"') == 2


def test_pipelined_requests_are_answered_in_order(scan: ScanProcess, scan_keys: tuple[KeyRoom, str]) -> None:
    """Three hundred small requests at once are larger than the bound of one head, and none is refused."""
    paths = [sealed(scan_keys, n % 3) for n in range(300)]
    received = exchange(scan.port, *(request(path) for path in paths), request("/healthz", b"connection: close"))
    assert received.count(b"HTTP/1.1 200 ") == 301
    answers = [piece.partition(b'"serial":"')[2][:12].decode() for piece in received.split(b"HTTP/1.1 200 ")[1:301]]
    assert answers == [path.rpartition("/")[2] for path in paths]


def test_requests_whose_responses_nobody_reads_wait_unparsed(scan: ScanProcess) -> None:
    """Ten thousand requests of 26 bytes would become 25 MB on each connection."""
    before = scan.memory_kib()
    flood = b"GET / HTTP/1.1\r\nHost:x\r\n\r\n" * 10_000
    with many(scan.port, 30, buffer=4096) as wires:
        for wire in wires:
            wire.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sent = 0
                while sent < len(flood):
                    sent += wire.send(flood[sent:])
        assert status(exchange(scan.port, request("/healthz", b"connection: close"))) == 200
        assert scan.memory_kib() - before < 60 * MIB


def test_a_further_request_that_comes_in_parts_is_answered_after_those_that_wait(scan: ScanProcess, code: str) -> None:
    """The parts come while earlier requests are being answered; the last one is longer than what is parsed at once."""
    long = request(code, b"x: " + b"a" * 20_000, b"connection: close")
    pieces = (*[request("/healthz")] * 100, long[:100], long[100:9000], long[9000:])
    received = exchange(scan.port, *pieces)
    assert received.count(b"HTTP/1.1 200 ") == 101
    assert received.count(b'"verdict":"unconfirmed"') == 1


def test_what_cannot_be_read_after_a_good_request_is_not_taken_for_its_answer(scan: ScanProcess, code: str) -> None:
    received = exchange(scan.port, request(code) + b"\x00\x01 nonsense\r\n\r\n")
    assert not received or status(received) == 200


def test_what_two_servers_could_read_differently_is_refused(scan: ScanProcess) -> None:
    """The next request on the connection is not answered, so that no request can be smuggled in."""
    for name, sent in AMBIGUOUS.items():
        received = exchange(scan.port, sent + b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert status(received) == 400, name
        assert "请求不是有效的 HTTP / this is not valid HTTP" in received.decode(), name


def test_a_second_blank_in_a_request_line_is_refused_wherever_a_packet_ends(scan: ScanProcess) -> None:
    for line in (b"GET  / HTTP/1.1", b"GET /  HTTP/1.1"):
        sent = line + b"\r\nhost: a\r\n\r\n"
        for end in range(1, len(line)):
            received = in_two(scan.port, sent[:end], sent[end:])
            assert status(received) == 400, (line, end)


def test_a_second_blank_in_a_pipelined_request_line_is_refused(scan: ScanProcess) -> None:
    """The first request may be answered; the one with the blanks and what follows it are not."""
    good, last = request("/healthz"), request("/healthz", b"connection: close")
    body = request("/healthz", b"content-length: 4", body=b"GET ")
    for bad in (b"GET  /healthz HTTP/1.1\r\nhost: a\r\n\r\n", b"GET /healthz  HTTP/1.0\r\n\r\n"):
        for first in (good, body):
            assert exchange(scan.port, first + bad + last).count(b"HTTP/1.1 200 ") <= 1


def test_blanks_in_fields_and_bodies_are_no_fault(scan: ScanProcess, code: str) -> None:
    """Also in the first field, and where a packet ends between them."""
    line = b"GET " + code.encode() + b" HTTP/1.1\r\n"
    sent = line + b"host:   a\r\nuser-agent: b  HTTP/1.1  c\r\naccept:  application/json\r\nconnection: close\r\n\r\n"
    for end in (len(sent), *range(len(line), len(sent), 7)):
        assert b'"verdict":"unconfirmed"' in in_two(scan.port, sent[:end], sent[end:])
    body = request("/healthz", b"content-length: 9", body=b"a  b  c  ")
    assert exchange(scan.port, body + request("/healthz", b"connection: close")).count(b"HTTP/1.1 200 ") == 2


def in_two(port: int, first: bytes, second: bytes) -> bytes:
    """Send these bytes in two packets, which the service nearly always reads one by one; returns its response."""
    with connect(port) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.sendall(first)
        time.sleep(0.002)
        with contextlib.suppress(ConnectionError):
            wire.sendall(second)
        return until_closed(wire)


def test_what_is_unusual_and_legal_is_answered(scan: ScanProcess, code: str) -> None:
    """HTTP/1.0, the absolute form, a foreign Host, a WebSocket upgrade: the path alone decides the code."""
    close = b"connection: close"
    received = exchange(scan.port, b"GET " + code.encode() + b" HTTP/1.0\r\naccept: application/json\r\n\r\n")
    assert b'"verdict":"unconfirmed"' in received
    assert b'"verdict":"unconfirmed"' in exchange(scan.port, request("http://evil.example" + code, close))
    foreign = exchange(
        scan.port, request(code, close).replace(b"host: scan", b"host: evil.example").replace(b"json", b"x")
    )
    assert b"evil.example" not in foreign
    upgrade = (b"connection: upgrade, close", b"upgrade: websocket", b"sec-websocket-version: 13",
               b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    with connect(scan.port) as wire:
        wire.sendall(request(code, *upgrade))
        assert status(until_closed(wire)) == 200


def test_a_request_that_does_not_arrive_is_not_waited_for(impatient: ScanProcess, code: str) -> None:
    """An unused connection is closed without a response, an incomplete request with 408; also after a first request."""
    for sent in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nhost: a\r\n"):
        received = exchange(impatient.port, sent)
        assert (status(received) == 408 and "没有在时限内到达" in received.decode()) if sent else received == b""
        if sent:
            assert exchange(impatient.port, request("/healthz") + sent).count(b"HTTP/1.1 ") == 2
    received = exchange(impatient.port, request(code, b"content-length: 5", body=b"he"))
    assert status(received) == 200, "the answer was given; the rest of the body is not waited for"


def test_an_answer_that_is_not_taken_is_not_kept(impatient: ScanProcess, code: str) -> None:
    """A client that sends requests and reads no response: the connection is closed, and memory stays bounded."""
    page = request(code).replace(b"application/json", b"text/html")
    with connect(impatient.port, buffer=4096) as wire:
        wire.setblocking(False)

        def broken_off() -> bool:
            try:
                wire.send(page * 20)
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            return False

        assert eventually(broken_off, 60)
    assert impatient.verdict(code) == "unconfirmed"


@pytest.fixture(scope="module")
def impatient(
    servers: Servers, scan_keys: tuple[KeyRoom, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScanProcess]:
    """A scan process with timeouts of 0.2 s."""
    more = {tuned_protocol.ARRIVE: "0.2", tuned_protocol.TAKE: "0.2"}
    settings = environment(servers.addresses, scan_keys[0], **NOBODY, **more)
    with scan_process(settings, tmp_path_factory.mktemp("scan") / "log", protocol=TUNED_PROTOCOL) as scan:
        yield scan
