"""Reads a submitted form within bounds: 32 MiB in all, 256 KiB a field, 20 fields, 10 files, 120 seconds. A URL-encoded form,
which has no files, has at most 64 KiB: the parser for it that Starlette uses takes a microsecond for each `&`.

The forms that a process is reading hold space, as much as their Content-Length says, and no longer than they are read.
Senders share it (`zpcode.portal.shell.shared_space`). Small forms (at most 64 KiB: text without files) have another
space, so that uploads do not keep text out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from zpcode.errors import RETRY_SECONDS
from zpcode.portal.shell.shared_space import SharedSpace, SpaceFull

MAX_BODY: Final = 32 * 2**20
MAX_FIELD: Final = 256 * 1024
MAX_FIELDS: Final = 20
MAX_FILES: Final = 10
SMALL: Final = 64 * 1024
LEAST_LARGE: Final = 2**20


@dataclass(frozen=True, slots=True)
class FormBounds:
    """Of one kind of form: the space in bytes, what a form holds of it at least, and the seconds in which it is read."""

    space: int
    least: int
    seconds: float


SMALL_FORMS: Final = FormBounds(256 * SMALL, SMALL, 30.0)
LARGE_FORMS: Final = FormBounds(12 * MAX_BODY, LEAST_LARGE, 120.0)


@dataclass(frozen=True, slots=True)
class SubmittedForm:
    """A submitted form: the text of each field (the first of each name), and the files that are not empty, in order."""

    fields: dict[str, str]
    files: tuple[bytes, ...]

    def get(self, name: str) -> str:
        """The text of a field; empty if it was not sent."""
        return self.fields.get(name, "")


class FormReader:
    """Reads the forms of one process, in one event loop."""

    def __init__(self, small: FormBounds = SMALL_FORMS, large: FormBounds = LARGE_FORMS) -> None:
        self._small, self._large = ((bounds, SharedSpace(bounds.space, bounds.least)) for bounds in (small, large))

    async def read(self, request: Request) -> SubmittedForm:
        """Read a form, multipart or URL-encoded.

        Raises HTTPException 400, 408, 413, and 503 for a form that finds no space or has to give way.
        """
        _check_charset(request)
        length, address = _length(request), None if request.client is None else request.client.host
        bounds, space = self._small if 0 <= length <= SMALL else self._large
        try:
            async with space.hold(address, MAX_BODY if length < 0 else min(length, MAX_BODY), bounds.seconds):
                return await _read(request)
        except SpaceFull:
            raise HTTPException(503, headers={"Retry-After": str(RETRY_SECONDS), "Connection": "close"}) from None
        except TimeoutError:
            raise HTTPException(408) from None
        except MultiPartException as error:
            raise _unreadable(error.message) from None
        except HTTPException as error:  # Starlette wraps the parser's error so if an application is in the scope
            raise _unreadable(error.detail) if error.status_code == 400 else error from None


def _length(request: Request) -> int:
    """The Content-Length; -1 if there is none."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() and len(declared) < 13 else -1


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
