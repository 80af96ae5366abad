"""A submitted form is read within bounds, and only a number of forms at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from zpcode.portal.shell.forms import LARGE_FORMS, MAX_FIELD, SMALL, SMALL_FORMS, FormSlots, SlotBounds, read

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
PART = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n"


def request(body: bytes, media: str, *, ends: bool = True) -> Request:
    """A request with a body, which may never end."""
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": not ends}])

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError("nobody waits so long")

    headers = [(b"content-type", media.encode())]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


@pytest.mark.parametrize(
    ("body", "media", "ends", "status"),
    [
        (b"description=" + b"x" * (MAX_FIELD + 1), URLENCODED, True, 413),
        (b"&".join(b"a%d=1" % one for one in range(99)), URLENCODED, True, 413),
        (b"&" * 99, URLENCODED, True, 413),
        (b"a=%ff", URLENCODED, True, 400),
        (b"a=1", "text/plain", True, 400),
        (PART + b"x" * (MAX_FIELD + 1), MULTIPART, True, 413),
        (b"x", "multipart/form-data", True, 400),
        (b"nonsense", MULTIPART, True, 400),
        (PART + b"-" + b"b" * 9999 + b"\r\n--b--", MULTIPART + "; charset=punycode", True, 400),
        (PART + b"x\r\n--b--", MULTIPART + "; charset=undefined", True, 400),
        (b"a=1", URLENCODED, False, 408),
    ],
)
def test_a_form_is_read_within_bounds(body: bytes, media: str, *, ends: bool, status: int) -> None:
    """Bounds of field size, number of fields and time; a body that is not a form is refused."""
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read(request(body, media, ends=ends), seconds=0.05))
    assert refused.value.status_code == status


def test_an_encoded_form_is_refused_after_its_bound_unread() -> None:
    """32 MiB of `&` are no fields: the parser would take half a minute for them, in which nobody else is served."""
    pieces = iter([b"&" * SMALL] * 512)

    async def receive() -> Message:
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", URLENCODED.encode())]}
    with pytest.raises(HTTPException) as refused:
        asyncio.run(read(Request(scope, receive)))
    assert refused.value.status_code == 413
    assert len(list(pieces)) == 510


def test_an_encoded_form_has_its_fields() -> None:
    """Blank fields, percent-encoding and + as browsers send them; the first of each name counts."""
    body = b"description=%E7%93%B6+%E6%BC%8F&code=&code=x&contact=a%26b"
    form = asyncio.run(read(request(body, URLENCODED + "; charset=utf-8")))
    assert form.fields == {"description": "瓶 漏", "code": "", "contact": "a&b"}
    assert form.files == ()


def sent(address: str | None, length: int | None) -> Request:
    """A form that an address has begun to send; its Content-Length, or None: in chunks."""
    declared = [] if length is None else [(b"content-length", b"%d" % length)]
    client = None if address is None else (address, 1)
    return Request({"type": "http", "method": "POST", "path": "/", "headers": declared, "client": client})


def refused(slots: FormSlots, address: str | None, length: int | None = None) -> bool:
    """Whether a form gets no slot; a slot is returned at once."""
    try:
        with slots.hold(sent(address, length)):
            return False
    except HTTPException as busy:
        return (busy.status_code, busy.headers) == (503, {"Retry-After": "5", "Connection": "close"})


@pytest.mark.parametrize(("length", "bounds"), [(SMALL, SMALL_FORMS), (SMALL + 1, LARGE_FORMS), (None, LARGE_FORMS)])
def test_a_process_reads_so_many_forms_at_a_time(length: int | None, bounds: SlotBounds) -> None:
    """Large forms, and those that do not say how large they are, leave the slots of small ones free, and the reverse."""
    slots, other = FormSlots(), SMALL + 1 if bounds is SMALL_FORMS else SMALL
    with ExitStack() as stack:
        for _ in range(bounds.slots - 1):
            stack.enter_context(slots.hold(sent(None, length)))
        with slots.hold(sent(None, length)) as kind:
            assert kind is bounds
            assert refused(slots, None, length)
            assert refused(slots, "60.191.0.1", length)
            assert not refused(slots, None, other)
        assert not refused(slots, None, length)


@pytest.mark.parametrize(("length", "bounds"), [(SMALL, SMALL_FORMS), (None, LARGE_FORMS)])
@pytest.mark.parametrize("network", ["60.191.{}.{}", "2400:3200:{}:{}::1"])
def test_two_senders_cannot_hold_all_slots(length: int | None, bounds: SlotBounds, network: str) -> None:
    """Not even two networks: a /24, or a /48 with its 65 536 households."""
    slots = FormSlots()
    with ExitStack() as stack:
        for _ in range(bounds.of_address):
            assert not refused(slots, network.format(0, 1), length)
            stack.enter_context(slots.hold(sent(network.format(0, 1), length)))
        assert refused(slots, network.format(0, 1), length)
        for number in (0, 1):
            for address in range(2, 2 + bounds.of_network - (bounds.of_address if number == 0 else 0)):
                stack.enter_context(slots.hold(sent(network.format(number, address), length)))
            assert refused(slots, network.format(number, 200), length)
        assert not refused(slots, network.format(2, 1), length)
        assert not refused(slots, None, length)
    assert not refused(slots, network.format(0, 1), length)
