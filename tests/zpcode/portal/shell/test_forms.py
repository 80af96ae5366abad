"""A submitted form is read within bounds, and only a number of forms at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from zpcode.portal.shell.forms import LARGE_FORMS, MAX_BODY, MAX_FIELD, SMALL, SMALL_FORMS, FormBounds, FormReader

ONE, OTHER = "60.191.0.1", "60.192.0.1"
HURRIED = FormReader(large=FormBounds(MAX_BODY, SMALL, 0.05))
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"
PART = b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\n"


def request(
    body: bytes, media: str, *, ends: bool = True, length: int | None = None, address: str | None = None
) -> Request:
    """A request with a body, which may never end. `length` is its Content-Length, None: in chunks."""
    messages: Iterator[Message] = iter([{"type": "http.request", "body": body, "more_body": not ends}])

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError("nobody waits so long")

    declared = [] if length is None else [(b"content-length", b"%d" % length)]
    headers = [(b"content-type", media.encode()), *declared]
    client = None if address is None else (address, 1)
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers, "client": client}, receive)


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
        asyncio.run(HURRIED.read(request(body, media, ends=ends)))
    assert refused.value.status_code == status


def test_an_encoded_form_is_refused_after_its_bound_unread() -> None:
    """32 MiB of `&` are no fields: the parser would take half a minute for them, in which nobody else is served."""
    pieces = iter([b"&" * SMALL] * 512)

    async def receive() -> Message:
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", URLENCODED.encode())]}
    with pytest.raises(HTTPException) as refused:
        asyncio.run(FormReader().read(Request(scope, receive)))
    assert refused.value.status_code == 413
    assert len(list(pieces)) == 510


def test_an_encoded_form_has_its_fields() -> None:
    """Blank fields, percent-encoding and + as browsers send them; the first of each name counts."""
    body = b"description=%E7%93%B6+%E6%BC%8F&code=&code=x&contact=a%26b"
    form = asyncio.run(FormReader().read(request(body, URLENCODED + "; charset=utf-8")))
    assert form.fields == {"description": "瓶 漏", "code": "", "contact": "a&b"}
    assert form.files == ()


@pytest.mark.parametrize(("length", "bounds"), [(SMALL, SMALL_FORMS), (SMALL + 1, LARGE_FORMS), (None, LARGE_FORMS)])
def test_small_forms_have_space_that_uploads_cannot_take(length: int | None, bounds: FormBounds) -> None:
    """Large forms, and those that do not say how large they are, leave the space of small ones free, and the reverse."""
    size = MAX_BODY if length is None else max(length, bounds.least)

    async def test() -> None:
        reader = FormReader(SMALL_FORMS, LARGE_FORMS)
        async with many(reader, bounds.space // size, length):
            assert await status(reader, None, length, ends=True) == 503
            assert await status(reader, None, SMALL + 1 if bounds is SMALL_FORMS else SMALL, ends=True) == 200
        assert await status(reader, None, length, ends=True) == 200, "the space is free again"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_an_upload_that_gives_way_is_told_to_come_again() -> None:
    """Its sender holds all space; it gets 503 and the connection ends. Another upload of it is refused at once."""

    async def test() -> None:
        reader = FormReader(large=FormBounds(2 * MAX_BODY, SMALL, 60.0))
        slow = [asyncio.ensure_future(status(reader, ONE, None)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await status(reader, ONE, None, ends=True) == 503
        assert await status(reader, OTHER, SMALL + 1, ends=True) == 200
        assert await slow[0] == 503
        assert not slow[1].done()
        slow[1].cancel()

    asyncio.run(asyncio.wait_for(test(), 60))


@asynccontextmanager
async def many(reader: FormReader, number: int, length: int | None) -> AsyncIterator[None]:
    """So many forms of a proxy, whose bodies never end."""
    reading = [asyncio.ensure_future(status(reader, None, length)) for _ in range(number)]
    await asyncio.sleep(0)
    yield
    assert not any(one.done() for one in reading)
    for one in reading:
        one.cancel()
    await asyncio.wait(reading)


async def status(reader: FormReader, address: str | None, length: int | None, *, ends: bool = False) -> int:
    """The status of a form that an address sends; `length` is its Content-Length, None: in chunks."""
    form = request(b"a=1", URLENCODED, ends=ends, length=length, address=address)
    try:
        await reader.read(form)
    except HTTPException as refusal:
        again = refusal.headers == {"Retry-After": "5", "Connection": "close"}
        return refusal.status_code if again or refusal.status_code != 503 else 500
    return 200
