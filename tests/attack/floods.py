"""Strangers with many networks, or with a few addresses that hold what they can, who want to keep others from complaining."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
from PIL import Image

from tests.attack.complaints import FORM, NO_PHOTO, TICKET_SECONDS, Parts, opened, send
from tests.attack.target import SECONDS, Attempt, Attempts, Target
from tests.attack.uploads import jpeg_of_scans
from tests.faults.wires import is_closed

_NETWORKS, _HOUSEHOLDS, _VICTIMS = 45, 8, 10
_SENDERS = tuple(f"60.{number}.0.1" for number in range(190, 196))
_PHOTO_FORMS, _UPLOADS, _TEXTS = 11, 12, 30
"""What each of six addresses holds: forms with costly photos, slow uploads of 30 MB, and slow texts. It may send 60 an hour."""
_PATIENCE = 10 * SECONDS


def complaints_of_one_provider(target: Target) -> Attempts:
    """Somebody with 45 /48s of one /32 cannot keep the customers of others from complaining about an item."""
    attackers = [
        f"2408:8000:{network:x}:{household:x}::1" for network in range(_NETWORKS) for household in range(_HOUSEHOLDS)
    ]
    victims = [f"61.{number}.0.7" for number in range(_VICTIMS)]
    with target.authority_behind_a_proxy() as http:
        tickets = {address: opened(http, target.item, address) for address in (*attackers, *victims)}
        time.sleep(TICKET_SECONDS)
        for address in attackers:
            send(http, tickets[address] | {"description": f"假 {address}"}, address)
        for address in victims:
            status = send(http, tickets[address] | {"description": f"真的坏了 {address}"}, address)
            yield Attempt(f"{address} about the item", "" if status in range(200, 400) else f"status {status}")


def held_forms(target: Target) -> Attempts:
    """Six addresses that hold slow and costly forms keep neither a text nor a small photo out."""
    costly, small = _photos(jpeg_of_scans(100), 2), _photos(_picture(), 1)
    with (
        ThreadPoolExecutor(len(_SENDERS) * _PHOTO_FORMS) as threads,
        target.authority_behind_a_proxy() as http,
    ):
        victims = [f"61.{number}.0.7" for number in range(6)]
        senders = [address for address in _SENDERS for _ in range(_PHOTO_FORMS)]
        tickets = [(address, opened(http, target.product, address)) for address in (*senders, *victims)]
        time.sleep(TICKET_SECONDS)
        forms: list[Future[int]] = [
            threads.submit(send, http, fields | {"description": f"假 {number}"}, address, None, costly, _PATIENCE)
            for number, (address, fields) in enumerate(tickets[: len(senders)])
        ]
        with _slow(http) as wires:
            slow = sum(not is_closed(wire) for wire in wires)
            yield Attempt("slow forms", "" if slow > len(_SENDERS) else f"{slow} are held, so the attack shows nothing")
            for number, (address, fields) in enumerate(tickets[len(senders) :]):
                what, photos = ("a text", NO_PHOTO) if number % 2 else ("a photo", small)
                named = fields | {"description": f"真的坏了 {address}"}
                status = send(http, named, address, None, photos, _PATIENCE)
                yield Attempt(f"{what} from {address}", "" if status in range(200, 400) else f"status {status}")
            waiting = sum(not one.done() for one in forms)
            yield Attempt("forms of the six", "" if waiting else "none waits any more, so the attack shows nothing")


@contextmanager
def _slow(http: httpx.Client) -> Iterator[list[socket.socket]]:
    """Forms of each address whose rest never comes, large and small ones."""
    address = urlsplit(str(http.base_url))
    with ExitStack() as stack:
        wires = []
        for size in [30_000_000] * _UPLOADS + [1000] * _TEXTS:
            for sender in _SENDERS:
                wire = stack.enter_context(
                    socket.create_connection((address.hostname or "", address.port or 80), SECONDS)
                )
                head = f"POST {FORM} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {sender}\r\nContent-Length: {size}\r\n"
                wire.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n")
                wires.append(wire)
        yield wires


def _photos(picture: bytes, number: int) -> Parts:
    """The parts of a form with this photo, so many times."""
    return [("photos", (f"{one}.jpg", picture, "image/jpeg")) for one in range(number)]


def _picture() -> bytes:
    saved = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(saved, "jpeg")
    return saved.getvalue()
