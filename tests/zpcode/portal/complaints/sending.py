"""Complaint forms as browsers send them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from html import unescape
from io import BytesIO
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from PIL import Image
from sqlalchemy import text

from zpcode.api.http.context import Authority
from zpcode.services.pictures.encode import EncodedPicture
from zpcode.store.database.session import transaction

FORM = "/complaints/new"
CONSUMER, OTHER = "60.191.0.1", "60.191.0.2"
ADDRESSES, CODES = 3, 4
ATTACKERS = tuple(f"60.{number}.0.1" for number in range(191, 197))
MULTIPART = "multipart/form-data; boundary=x"
DESCRIPTION = "螺纹一拧就断 👀 <script>alert(1)</script> \"'& \u202eabc"


class Wall:
    """A wall clock that changes only when a test sets it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now


class SlowDecoder:
    """Decodes photos only after `go()`, except the smallest. `started` has the photos in the order in which they were started."""

    SMALLEST = 2000
    """Bytes of the photos that are decoded at once."""

    def __init__(self, encode: Callable[[bytes], EncodedPicture]) -> None:
        self.started: list[bytes] = []
        self.go_on = Event()
        self._encode = encode

    def __call__(self, data: bytes) -> EncodedPicture:
        """Decode a photo."""
        self.started.append(data)
        assert len(data) < self.SMALLEST or self.go_on.wait(60)
        return self._encode(data)

    def go(self) -> None:
        """From now on, it is not slow."""
        self.go_on.set()


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of a form."""
    pairs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in pairs}


def opened(http: httpx.Client, wall: Wall, code: str = "", seconds: int = 10, **params: str) -> dict[str, str]:
    """The hidden fields of a form that was opened this many seconds ago."""
    fields = hidden(http.get(FORM, params={"code": code} | params))
    wall.now += timedelta(seconds=seconds)
    return fields


def send(
    http: httpx.Client, fields: dict[str, str], files: Any = None, address: str = "127.0.0.1", **more: str
) -> httpx.Response:
    """Send a form as a browser without JavaScript does: multipart, with an empty file where none was chosen."""
    data = {"kind": "quality", "description": DESCRIPTION, "place": "", "contact": "", "website": ""} | fields | more
    parts = files or [("photos", ("", b"", "application/octet-stream"))]
    return http.post(FORM, data=data, files=parts, headers={"X-Forwarded-For": address})


def photo(size: tuple[int, int] = (1200, 800)) -> bytes:
    """A JPEG with a place in its metadata."""
    image, target = Image.new("RGB", size, "teal"), BytesIO()
    exif = image.getexif()
    exif[0x010E] = "taken at home"
    image.save(target, "JPEG", exif=exif)
    return target.getvalue()


def photos(*files: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The parts of a form with these photos."""
    return [("photos", (f"{number}.jpg", file, "image/jpeg")) for number, file in enumerate(files)]


def victim(number: int) -> str:
    """The address of somebody in a block that nobody else uses."""
    return f"61.{number}.0.1"


def number_and_key(answer: httpx.Response) -> tuple[str, str]:
    """Where a form that was taken leads."""
    assert answer.status_code == 303, answer.text
    address = urlsplit(answer.headers["Location"])
    return address.path.rsplit("/", 1)[1], parse_qs(address.query)["key"][0]


def rows(here: Authority, table: str) -> list[Any]:
    """All rows of a table of complaints, without those of the fixture."""
    number = "number" if table == "complaint" else "(SELECT number FROM complaint c WHERE c.id = complaint)"
    began = "(SELECT number FROM complaint ORDER BY id LIMIT 2)"
    with transaction(here.engine) as connection:
        return list(connection.execute(text(f"SELECT * FROM {table} WHERE {number} NOT IN {began}")))  # noqa: S608
