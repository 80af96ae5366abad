"""Heads and bodies beyond all bounds, and everything HTTP is abused for: refused in bounded memory, the rest unaffected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keys.ceremony import KeyRoom
from tests.faults import tuned_door
from tests.faults.scan_processes import TUNED_DOOR, ScanProcess, environment, scan_process
from tests.faults.wires import connect, tell, until_closed
from tests.support import keyroom
from tests.support.patience import eventually
from tests.support.scan_factories import item_identity
from zpcode.embedded.servers import Servers

MIB = 1024


NOBODY = {"ZPCODE_SCAN_DATABASE_URL": "", "ZPCODE_SCAN_REDIS_URL": "redis://127.0.0.1:1"}


@pytest.fixture(scope="module")
def running(
    servers: Servers, scan_keys: tuple[KeyRoom, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ScanProcess]:
    """One scan process for all of this. It reaches neither server, whatever others left there: all it says is unconfirmed."""
    nobody = {
        "ZPCODE_SCAN_DATABASE_URL": "",
        "ZPCODE_SCAN_REDIS_URL": "redis://127.0.0.1:1",
        "ZPCODE_SCANS_PER_MINUTE": "0",
    }
    settings = environment(servers.addresses, scan_keys[0], **nobody)
    with scan_process(settings, tmp_path_factory.mktemp("scan") / "log") as found:
        yield found


@pytest.fixture
def code(scan_keys: tuple[KeyRoom, str]) -> str:
    """The path of a sealed code."""
    return sealed(scan_keys, 0)


@pytest.fixture
def scan(running: ScanProcess, code: str) -> Iterator[ScanProcess]:
    """The process behind its door. Afterwards it answers as before, and nothing of ours has failed."""
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


def status(told: bytes) -> int:
    """The status of the only answer there is."""
    assert told.count(b"HTTP/1.1 ") == 1, told[:2000]
    return int(told.split(b" ", 2)[1])


def test_a_head_that_is_too_large_is_refused(scan: ScanProcess, code: str) -> None:
    """One long field, very many short ones, a long path, a long query; none of it is kept."""
    before = scan.memory_kib()
    heads = (
        request(code, b"x: " + b"a" * 64 * 1024),
        request(code, *(b"a%d: b" % n for n in range(10_000))),
        request("/" + "A" * 64 * 1024),
        request(code + "?" + "a" * 64 * 1024),
    )
    for head in heads * 5:
        told = tell(scan.port, head)
        assert status(told) == 431
        assert "请求头过大 / the header fields are too large" in told.decode()
        assert b"connection: close" in told
    assert scan.memory_kib() - before < 30 * MIB


def test_a_body_nobody_asked_for_is_not_read(scan: ScanProcess, code: str) -> None:
    """A hundred MB after a GET, and chunks without end: hung up on after some KiB, whether answered before or not."""
    before = scan.memory_kib()
    piece = b"a" * 65536
    told = tell(scan.port, request(code, b"content-length: 104857600"), *[piece] * 1600)
    assert not told or status(told) in {200, 413}
    chunk = b"10000\r\n" + piece + b"\r\n"
    told = tell(scan.port, request(code, b"transfer-encoding: chunked"), *[chunk] * 1600)
    assert not told or status(told) in {200, 413}
    trailers = b"".join(b"t%d: %s\r\n" % (n, b"b" * 100) for n in range(1000))
    told = tell(scan.port, request(code, b"transfer-encoding: chunked"), b"0\r\n", trailers)
    assert not told or status(told) in {200, 413}
    assert scan.memory_kib() - before < 30 * MIB


def test_a_body_that_comes_before_its_answer_is_refused(scan: ScanProcess, code: str) -> None:
    """Head and body in one breath: nothing was answered yet, so the client is told why."""
    told = tell(scan.port, request(code, b"content-length: 1000000", body=b"a" * 60_000))
    assert status(told) == 413
    assert "扫码不需要请求体 / the request is too large: a scan has no body" in told.decode()


def test_a_small_body_is_ignored_and_the_connection_kept(scan: ScanProcess, code: str) -> None:
    small = request(code, b"content-length: 5", body=b"hello")
    last = request(code, b"connection: close")
    told = tell(scan.port, small + last)
    assert told.count(b"HTTP/1.1 200 ") == told.count(b'"verdict":"unconfirmed"') == 2


def test_pipelined_requests_are_answered_in_order(scan: ScanProcess, scan_keys: tuple[KeyRoom, str]) -> None:
    """Three hundred at once are more than the door looks at in one piece, and none is too large."""
    paths = [sealed(scan_keys, n % 3) for n in range(300)]
    told = tell(scan.port, *(request(path) for path in paths), request("/healthz", b"connection: close"))
    assert told.count(b"HTTP/1.1 200 ") == 301
    answers = [piece.partition(b'"serial":"')[2][:12].decode() for piece in told.split(b"HTTP/1.1 200 ")[1:301]]
    assert answers == [path.rpartition("/")[2] for path in paths]


def test_what_cannot_be_read_after_a_good_request_is_not_taken_for_its_answer(scan: ScanProcess, code: str) -> None:
    told = tell(scan.port, request(code) + b"\x00\x01 nonsense\r\n\r\n")
    assert not told or status(told) == 200


AMBIGUOUS = {
    "both lengths": b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked first": b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "signed length": b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello",
    "chunked, then something": b"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "NUL in the path": b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n",
    "no such version": b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


def test_what_two_servers_could_read_differently_is_refused(scan: ScanProcess) -> None:
    """And what comes behind it on the connection is never answered: nothing can be smuggled in."""
    for name, sent in AMBIGUOUS.items():
        told = tell(scan.port, sent + b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert status(told) == 400, name
        assert "请求不是有效的 HTTP / this is not valid HTTP" in told.decode(), name


def test_what_is_unusual_and_legal_is_answered(scan: ScanProcess, code: str) -> None:
    """HTTP/1.0, the absolute form, a foreign Host, a WebSocket nobody offers: the code is what its path says."""
    close = b"connection: close"
    told = tell(scan.port, b"GET " + code.encode() + b" HTTP/1.0\r\naccept: application/json\r\n\r\n")
    assert b'"verdict":"unconfirmed"' in told
    assert b'"verdict":"unconfirmed"' in tell(scan.port, request("http://evil.example" + code, close))
    foreign = tell(scan.port, request(code, close).replace(b"host: scan", b"host: evil.example").replace(b"json", b"x"))
    assert b"evil.example" not in foreign
    upgrade = (b"connection: upgrade, close", b"upgrade: websocket", b"sec-websocket-version: 13",
               b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    with connect(scan.port) as wire:
        wire.sendall(request(code, *upgrade))
        assert status(until_closed(wire)) == 200


def test_a_request_that_does_not_arrive_is_not_waited_for(impatient: ScanProcess, code: str) -> None:
    """A spare connection of a browser is closed without a word, a begun request with one; so after a first request."""
    for sent in (b"", b"GET / HTT", b"GET / HTTP/1.1\r\nhost: a\r\n"):
        told = tell(impatient.port, sent)
        assert (status(told) == 408 and "没有在时限内到达" in told.decode()) if sent else told == b""
        if sent:
            assert tell(impatient.port, request("/healthz") + sent).count(b"HTTP/1.1 ") == 2
    told = tell(impatient.port, request(code, b"content-length: 5", body=b"he"))
    assert status(told) == 200, "the answer was given; the rest of the body is not waited for"


def test_an_answer_that_is_not_taken_is_not_kept(impatient: ScanProcess, code: str) -> None:
    """Answers asked for without end and none read: the connection is broken off, not filled for ever."""
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
    """A scan process whose door waits for a fifth of a second only."""
    more = {tuned_door.ARRIVE: "0.2", tuned_door.TAKE: "0.2"}
    settings = environment(servers.addresses, scan_keys[0], **NOBODY, **more)
    with scan_process(settings, tmp_path_factory.mktemp("scan") / "log", door=TUNED_DOOR) as found:
        yield found
