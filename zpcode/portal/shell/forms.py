"""A form as it came in, read within bounds: 32 MiB in all, 256 KiB a field, 20 fields, 120 s."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

MAX_BODY: Final = 32 * 2**20
MAX_FIELD: Final = 256 * 1024
MAX_FIELDS: Final = 20
MAX_FILES: Final = 10
SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent: texts by field (the first of each name), and the files that are not empty, in order."""

    fields: dict[str, str]
    files: tuple[bytes, ...]

    def get(self, name: str) -> str:
        """A field's text; empty where there is none."""
        return self.fields.get(name, "")


async def read(request: Request, *, seconds: float = SECONDS) -> Sent:
    """The form in a request, as multipart or URL-encoded. Raises HTTPException 400, 408 or 413."""
    _check_charset(request)
    try:
        async with asyncio.timeout(seconds):
            return await _read(request)
    except TimeoutError:
        raise HTTPException(408) from None
    except MultiPartException as error:
        raise _unreadable(error.message) from None
    except HTTPException as error:  # what the parser says, where it stands in an application
        raise _unreadable(error.detail) if error.status_code == 400 else error from None


def _check_charset(request: Request) -> None:
    """Only UTF-8, which every browser sends: of Python's other codecs one takes a minute for a field of Punycode."""
    _, parameters = parse_options_header(request.headers.get("content-type", ""))
    if parameters.get(b"charset", b"utf-8").lower() not in {b"utf-8", b"utf8"}:
        raise HTTPException(400)


async def _read(request: Request) -> Sent:
    fields: dict[str, str] = {}
    files = []
    async with request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD) as form:
        for name, value in form.multi_items():
            if not isinstance(value, UploadFile):
                fields.setdefault(name, value)
            elif value.size:
                files.append(await value.read())
    return Sent(fields, tuple(files))


def _unreadable(message: str) -> HTTPException:
    return HTTPException(413 if "exceeded" in message or "Too many" in message else 400)
