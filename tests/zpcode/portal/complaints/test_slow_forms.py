"""Slow uploads, and photos that cost much to decode, over HTTP: an honest form, with text or with a small photo, gets through.

Each test is about the order in which forms are served and what becomes of each, not about time.
"""

from __future__ import annotations

import select
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest

from tests.faults.wires import connect, until_closed
from tests.support.authority import Tenants, as_
from tests.support.patience import eventually
from tests.support.pictures import jpeg, progressive
from tests.zpcode.portal.complaints.sending import (
    ATTACKERS,
    FORM,
    SlowDecoder,
    Wall,
    hidden,
    opened,
    photo,
    photos,
    send,
    victim,
)
from zpcode.portal.complaints.photo_queue import LEAST, PhotoQueue
from zpcode.portal.complaints.rate_limits import ComplaintRateLimits
from zpcode.portal.complaints.routes import Complaints
from zpcode.portal.shell.forms import MAX_BODY, SMALL, FormBounds, FormReader
from zpcode.server import AuthorityProtocol
from zpcode.services.pictures.decoder import CHILDREN

FORMS_EACH = 2
FORMS = FORMS_EACH * len(ATTACKERS)
"""Forms for which the queue of these tests has space: the attackers fill it."""


@pytest.fixture
def queue(complaints: Complaints) -> PhotoQueue:
    """The queue of the complaint pages, with less space, and limits of senders that nobody reaches."""
    complaints.rate_limits = ComplaintRateLimits(100, 100)
    complaints._photos = PhotoQueue(complaints.desk.decode_photo, FORMS * LEAST)
    return complaints._photos


def test_slow_photos_of_six_addresses_delay_no_text_no_small_photo_and_no_picture_of_an_enterprise(
    http: httpx.Client, world: Tenants, wall: Wall, queue: PhotoQueue, slow: SlowDecoder
) -> None:
    """They fill the queue. One form of theirs gives way. The honest photo waits for one photo of each of them at most."""
    big, small = jpeg(600, 400), photo((64, 64))
    assert len(small) < slow.SMALLEST < len(big)
    tickets = [opened(http, wall) for _ in range(FORMS)]
    with ThreadPoolExecutor(len(tickets) + 1) as threads:
        attack: list[Future[httpx.Response]] = [
            threads.submit(send, http, fields, photos(big, big, big), ATTACKERS[number % 6], description=f"{number}")
            for number, fields in enumerate(tickets)
        ]
        try:
            eventually(lambda: len(queue) == FORMS and len(slow.started) == CHILDREN)
            over = send(http, opened(http, wall), photos(small), ATTACKERS[0], description="one more")
            assert (over.status_code, int(over.headers["Retry-After"])) == (503, 5)
            assert "You can send it now without photos" in over.text
            for number in range(10):
                text = send(http, opened(http, wall), address=victim(number), description=f"text {number}")
                assert text.status_code == 303
            assert send(http, hidden(over), address=ATTACKERS[0], description="one more").status_code == 303
            wall.now += timedelta(seconds=10)
            product = f"/v1/products/{world.my_gtin}/picture"
            headers = as_(world.mine) | {"Content-Type": "image/jpeg"}
            assert http.put(product, content=big, headers=headers).status_code == 200
            assert not any(one.done() for one in attack)
            honest = threads.submit(send, http, opened(http, wall), photos(small), victim(1), description="photo")
            (displaced,) = eventually(lambda: [one for one in attack if one.done()])
            assert displaced.result().status_code == 503
            assert "You can send it now without photos" in displaced.result().text
        finally:
            slow.go()
        assert honest.result(60).status_code == 303
        assert slow.started.index(small) <= len(ATTACKERS)
        assert sorted(one.result(60).status_code for one in attack) == [303] * (FORMS - 1) + [503]


@pytest.mark.parametrize("small", [True, False])
def test_slow_uploads_of_six_addresses_keep_nobody_out(
    http: httpx.Client, wall: Wall, complaints: Complaints, monkeypatch: pytest.MonkeyPatch, *, small: bool
) -> None:
    """They hold all the space, for small forms or for large ones. An honest form takes the space of one; the others go on."""
    monkeypatch.setattr(AuthorityProtocol, "body_seconds", 600.0)  # they are stopped by nothing else
    complaints._reader = FormReader(FormBounds(FORMS * SMALL, SMALL, 600.0), FormBounds(FORMS * MAX_BODY, SMALL, 600.0))
    files = None if small else photos(photo(), photo((3000, 2000)))
    with ExitStack() as stack:
        wires = [stack.enter_context(connect(port_of(http))) for _ in range(FORMS + len(ATTACKERS))]
        for number, wire in enumerate(wires):
            wire.sendall(upload(ATTACKERS[number % 6], SMALL if small else MAX_BODY))
        eventually(lambda: len(answered(wires)) == len(ATTACKERS))
        assert send(http, opened(http, wall), files, victim(1), description="honest").status_code == 303
        assert len(answered(wires)) == len(ATTACKERS) + 1
        other = None if files else photos(photo((3000, 2000)))
        assert send(http, opened(http, wall), other, victim(2), description="of the other size").status_code == 303
        for wire in answered(wires):
            page = until_closed(wire).decode()
            assert page.startswith("HTTP/1.1 503 ")
            assert "您的内容尚未登记" in page
            assert "tel:12315" in page
        assert len(answered(wires)) == len(ATTACKERS) + 1


def port_of(http: httpx.Client) -> int:
    """The port at which the authority listens."""
    port = http.base_url.port
    assert port is not None
    return port


def upload(address: str, size: int) -> bytes:
    """The beginning of a form of this size, whose rest never comes."""
    head = f"POST {FORM} HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {address}\r\ncontent-length: {size}\r\n"
    return head.encode() + b"content-type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"


def answered(wires: list[socket.socket]) -> list[socket.socket]:
    """Those uploads that have been refused or stopped."""
    return [wire for wire in wires if select.select([wire], [], [], 0)[0]]


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_worst_accepted_photos_of_six_addresses_delay_no_text_and_a_small_photo_gets_in(
    http: httpx.Client, world: Tenants, wall: Wall, queue: PhotoQueue
) -> None:
    """40 megapixels in 100 scans, 2 s of processor time each. The victims are served before the second photo of each."""
    assert world
    worst, small = progressive(6300, 6300, scans=100), photo((1200, 800))
    tickets = [opened(http, wall) for _ in ATTACKERS]
    with (
        ThreadPoolExecutor(len(tickets)) as threads,
        httpx.Client(base_url=http.base_url, headers=http.headers, timeout=600) as patient,
    ):
        attack = [
            threads.submit(send, patient, fields, photos(worst, worst), ATTACKERS[number], description=f"{number}")
            for number, fields in enumerate(tickets)
        ]
        eventually(lambda: len(queue) == len(tickets))
        for number in range(5):
            assert send(http, opened(http, wall), address=victim(number), description=f"{number}").status_code == 303
        assert send(patient, opened(http, wall), photos(small), victim(9), description="photo").status_code == 303
        assert not all(one.done() for one in attack)
        assert {one.result(600).status_code for one in attack} <= {303, 422}, (
            "422: a busy machine gives a decoder no time"
        )
