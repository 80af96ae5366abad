"""A submitted form is read within bounds, and only a number of forms at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from zpcode.portal.shell.forms import MAX_FIELD, SLOTS, SLOTS_EACH, FormSlots, read

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


def refused(slots: FormSlots, address: str | None) -> bool:
    """Whether an address gets no slot; a slot is returned at once."""
    try:
        with slots.hold(address):
            return False
    except HTTPException as busy:
        return (busy.status_code, busy.headers) == (503, {"Retry-After": "5"})


def test_a_process_reads_so_many_forms_at_a_time() -> None:
    slots = FormSlots()
    with ExitStack() as stack:
        for _ in range(SLOTS - 1):
            stack.enter_context(slots.hold(None))
        with slots.hold(None):
            assert refused(slots, None)
        assert not refused(slots, None)


def test_one_address_holds_half_of_the_slots() -> None:
    """Clients without a known address may hold all slots."""
    slots = FormSlots()
    with ExitStack() as stack:
        for _ in range(SLOTS_EACH - 1):
            stack.enter_context(slots.hold("60.191.0.1"))
        with slots.hold("60.191.0.1"):
            assert refused(slots, "60.191.0.1")
            assert not refused(slots, "60.191.0.2")
            assert not refused(slots, None)
        assert not refused(slots, "60.191.0.1")
