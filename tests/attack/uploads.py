"""Files that cost the reader far more than the sender, by an enterprise or the operator whose key was stolen."""

from __future__ import annotations

import io
import zipfile
import zlib

from PIL import Image

from tests.attack.processes import find, processor_seconds
from tests.attack.target import SECONDS, Attempt, Attempts, Target
from tests.support.registry_data import as_workbook, registry

_SECONDS_A_PICTURE = 8.0
"""Processor time for one picture: 3 s for the decoder (its limit), and what the process does besides meanwhile."""
_SECONDS_A_WORKBOOK = 20.0
_REFUSED = {413, 422}
_SCANS = 2000
_COMMENT = 64 << 20


def costly_pictures(target: Target) -> Attempts:
    """A small picture costs a bounded time of the processor."""
    gtin = target.product.split("/01/")[1]
    for name, (media_type, body) in {
        "a JPEG of 2000 scans": ("image/jpeg", jpeg_of_scans(_SCANS)),
        "a JPEG of 101 scans": ("image/jpeg", jpeg_of_scans(101)),
        "a PNG of one colour": ("image/png", _png((30_000, 30_000))),
        "a PNG with endless text": ("image/png", _with_text(_png((64, 64)))),
    }.items():
        yield _cost(target, name, f"/v1/products/{gtin}/picture", media_type, body, "enterprise", _SECONDS_A_PICTURE)


def costly_workbooks(target: Target) -> Attempts:
    """A small workbook costs a bounded time of the processor (CVE-2023-52425 of expat among others)."""
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    for name, token in {
        "a comment of 64 MiB": b"<!--" + b"a" * _COMMENT + b"-->",
        "an instruction of 64 MiB": b"<?a " + b"a" * _COMMENT + b"?>",
        "an attribute of 64 MiB": b'<a b="' + b"a" * _COMMENT + b'"/>',
        "a document type": b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 10_000 + b'">]>',
        "elements inside each other": b"<a>" * 1_000_000,
    }.items():
        body = _workbook_with(token)
        yield _cost(target, name, "/v1/registry/imports", media_type, body, "operator", _SECONDS_A_WORKBOOK)


def _cost(target: Target, name: str, path: str, media_type: str, body: bytes, who: str, most: float) -> Attempt:
    """Send a file and compare what it cost the authority with the bound."""
    authority = find(target.demo.home, "zpcode.app:create_app")
    before = processor_seconds(authority)
    method = "PUT" if path.endswith("/picture") else "POST"
    headers = target.demo.tokens[who] | {"Content-Type": media_type}
    status = target.api.request(method, path, content=body, headers=headers, timeout=3 * SECONDS).status_code
    spent = processor_seconds(authority) - before
    if spent > most:
        return Attempt(name, f"{len(body)} bytes cost {spent:.1f} s of the processor (status {status})")
    return Attempt(
        name, "" if status in _REFUSED else f"status {status}: the file was not read, or is taken for a good one"
    )


def jpeg_of_scans(count: int, size: tuple[int, int] = (6000, 6000)) -> bytes:
    """A progressive JPEG with this many scans: the last scan of a picture of one colour is repeated (ISO/IEC 10918-1, B.2.3)."""
    target = io.BytesIO()
    Image.new("RGB", size, "teal").save(target, "jpeg", progressive=True, quality=30)
    data = target.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    scans = data.count(b"\xff\xda")
    return data[:end] + data[last:end] * (count - scans) + data[end:]


def _png(size: tuple[int, int]) -> bytes:
    target = io.BytesIO()
    Image.new("1", size).save(target, "png")
    return target.getvalue()


def _with_text(png: bytes) -> bytes:
    """A PNG with a compressed text of 64 MiB before its data (PNG, 11.3.3.3)."""
    content = b"a\0\0" + zlib.compress(bytes(_COMMENT), 9)
    chunk = b"zTXt" + content
    at = png.index(b"IDAT") - 4
    return png[:at] + len(content).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[at:]


def _workbook_with(token: bytes) -> bytes:
    """A valid workbook, with this text at the beginning of its shared texts or its first sheet."""
    saved, target = io.BytesIO(), io.BytesIO()
    as_workbook(registry(1)).save(saved)
    with (
        zipfile.ZipFile(saved) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as changed,
    ):
        for part in source.namelist():
            text = source.read(part)
            if part.endswith("sheet1.xml"):
                at = text.index(b">", text.index(b"<worksheet")) + 1
                text = text[:at] + token + text[at:]
            changed.writestr(part, text)
    return target.getvalue()
