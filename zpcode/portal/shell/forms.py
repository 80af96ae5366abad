"""Reads a submitted form within bounds: 32 MiB in all, 256 KiB a field, 20 fields, 10 files, 120 seconds. A URL-encoded form,
which has no files, has at most 64 KiB: the parser for it that Starlette uses takes a microsecond for each `&`.

A process reads a bounded number of forms at a time. Small forms (at most 64 KiB, by their Content-Length: text without
files) have separate slots, so that slow uploads do not keep text out. Of each kind an address (an IPv6 /64) and its
network (a /24 or an IPv6 /48) hold only a share: two senders cannot occupy all slots.

A slot is held while a form is read, and no longer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from zpcode.errors import RETRY_SECONDS
from zpcode.ratelimit import network, payer

MAX_BODY: Final = 32 * 2**20
MAX_FIELD: Final = 256 * 1024
MAX_FIELDS: Final = 20
MAX_FILES: Final = 10
SECONDS: Final = 120.0
SMALL: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class SlotBounds:
    """The slots of one kind of form: in all, of one address, of one network; and the seconds in which a form is read."""

    slots: int
    of_address: int
    of_network: int
    seconds: float = SECONDS


SMALL_FORMS: Final = SlotBounds(64, 8, 16, 30.0)
LARGE_FORMS: Final = SlotBounds(12, 3, 5)


@dataclass(frozen=True, slots=True)
class SubmittedForm:
    """A submitted form: the text of each field (the first of each name), and the files that are not empty, in order."""

    fields: dict[str, str]
    files: tuple[bytes, ...]

    def get(self, name: str) -> str:
        """The text of a field; empty if it was not sent."""
        return self.fields.get(name, "")


class FormSlots:
    """The forms that this process is reading, by size and sender."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[SlotBounds, Counter[bytes | None]] = {SMALL_FORMS: Counter(), LARGE_FORMS: Counter()}

    @contextmanager
    def hold(self, request: Request) -> Iterator[SlotBounds]:
        """Hold one slot while a form is read. Raises HTTPException 503 if none is free.

        A proxy that does not pass on its clients' addresses may hold all slots: many clients share it.
        """
        bounds = SMALL_FORMS if 0 <= _length(request) <= SMALL else LARGE_FORMS
        senders = self._senders(None if request.client is None else request.client.host)
        with self._lock:
            reading = self._open[bounds]
            shares = (bounds.slots, bounds.of_address, bounds.of_network)
            if any(reading[sender] >= share for sender, share in zip(senders, shares, strict=False)):
                raise HTTPException(503, headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"})
            reading.update(senders)
        try:
            yield bounds
        finally:
            with self._lock:
                reading.subtract(senders)
                for sender in senders:
                    if not reading[sender]:
                        del reading[sender]

    @staticmethod
    def _senders(address: str | None) -> tuple[bytes | None, ...]:
        """Everybody (None), the address and its network; an address of 4 or 8 bytes, a network of 3 or 6."""
        return (None, *(key for key in (payer(address), network(address)) if key is not None))


def _length(request: Request) -> int:
    """The Content-Length; -1 if there is none."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() and len(declared) < 13 else -1


async def read(request: Request, *, seconds: float = SECONDS) -> SubmittedForm:
    """Read a form, multipart or URL-encoded. Raises HTTPException 400, 408 or 413."""
    _check_charset(request)
    try:
        async with asyncio.timeout(seconds):
            return await _read(request)
    except TimeoutError:
        raise HTTPException(408) from None
    except MultiPartException as error:
        raise _unreadable(error.message) from None
    except HTTPException as error:  # Starlette wraps the parser's error so if an application is in the scope
        raise _unreadable(error.detail) if error.status_code == 400 else error from None


def _check_charset(request: Request) -> None:
    """Accept only UTF-8, which every browser sends: Python's punycode codec takes a minute for one large field."""
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    if parameters.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8"}:
        raise HTTPException(400)


async def _read(request: Request) -> SubmittedForm:
    media_type, _ = parse_options_header(request.headers.get("content-type", ""))
    if media_type not in {b"multipart/form-data", b"application/x-www-form-urlencoded"}:
        raise HTTPException(400)
    return await (_read_multipart(request) if media_type == b"multipart/form-data" else _read_url_encoded(request))


async def _read_url_encoded(request: Request) -> SubmittedForm:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > SMALL:
            raise HTTPException(413)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise HTTPException(400) from None
    except ValueError:  # too many fields
        raise HTTPException(413) from None
    fields: dict[str, str] = {}
    for name, value in pairs:
        fields.setdefault(name, value)
    return SubmittedForm(fields, ())


async def _read_multipart(request: Request) -> SubmittedForm:
    fields: dict[str, str] = {}
    files = []
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields.setdefault(name, value)
            elif value.size:
                files.append(await value.read())
    return SubmittedForm(fields, tuple(files))


def _unreadable(message: str) -> HTTPException:
    return HTTPException(413 if "exceeded" in message or "Too many" in message else 400)
