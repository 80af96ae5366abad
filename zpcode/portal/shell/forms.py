"""Reads a submitted form within bounds: 32 MiB in all, 256 KiB a field, 20 fields, 10 files, 120 seconds.

A process reads at most 8 forms at a time, of which one address (an IPv6 /64) holds at most 4: clients that send slowly
cannot keep others out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from zpcode.errors import RETRY_SECONDS
from zpcode.ratelimit import payer

MAX_BODY: Final = 32 * 2**20
MAX_FIELD: Final = 256 * 1024
MAX_FIELDS: Final = 20
MAX_FILES: Final = 10
SECONDS: Final = 120.0
SLOTS: Final = 8
SLOTS_EACH: Final = 4


@dataclass(frozen=True, slots=True)
class SubmittedForm:
    """A submitted form: the text of each field (the first of each name), and the files that are not empty, in order."""

    fields: dict[str, str]
    files: tuple[bytes, ...]

    def get(self, name: str) -> str:
        """The text of a field; empty if it was not sent."""
        return self.fields.get(name, "")


class FormSlots:
    """The forms that this process is reading, by address."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: Counter[bytes | None] = Counter()

    @contextmanager
    def hold(self, address: str | None) -> Iterator[None]:
        """Hold one slot while a form is read and answered. Raises HTTPException 503 if none is free.

        A proxy that does not pass on its clients' addresses may hold all slots: many clients share it.
        """
        key = payer(address)
        with self._lock:
            if self._open.total() >= SLOTS or (key is not None and self._open[key] >= SLOTS_EACH):
                raise HTTPException(503, headers={"Retry-After": str(RETRY_SECONDS)})
            self._open[key] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[key] -= 1
                if not self._open[key]:
                    del self._open[key]


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
