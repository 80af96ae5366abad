"""Digital Link: from a raw request path to a code, and from a code to the text that is printed.

A scan arrives as bytes nobody vouches for, so there is one way in (`parse`), it reads the path
undecoded, and it raises `MalformedCode` and nothing else. Every printed character is unreserved in
RFC 3986, so a percent sign is already a refusal and no decoding ever happens.
"""

from __future__ import annotations

import re
from typing import Final

from zpcode.errors import MalformedCode, Text
from zpcode.wire.base32 import serial_number
from zpcode.wire.gs1 import AI_GTIN, AI_LOT, AI_SERIAL, is_gtin14, is_lot
from zpcode.wire.payload import COMPACT_LENGTH, SEAL_LENGTH, SERIAL_LENGTH, Code, Identity, Seal, Serial

MAX_PATH = 256
_BASE = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)

REASONS: Final = {
    "length": Text("码的长度不对", "the code is too long"),
    "encoding": Text("码里有不该有的字符", "the code contains characters that no code has"),
    "structure": Text("码的结构不对", "the parts of the code do not stand where they should"),
    "seal": Text("签章部分不完整或有误", "the seal is incomplete or mistyped"),
    "gtin": Text("商品条码（GTIN）不对", "the GTIN is not one: 14 digits with a check digit"),
    "lot": Text("批号不对", "the lot is not one: 1 to 20 of 0-9 A-Z . -"),
    "serial": Text("序列号不对", "the serial is not one: 12 or 20 characters"),
    "seal-on-compact": Text("短码不带签章", "a compact code carries no seal"),
}


def _malformed(reason: str) -> MalformedCode:
    return MalformedCode(reason, REASONS[reason])


def parse(raw_path: bytes | str) -> Code:
    """The code in a raw request path (no scheme, host or query), or MalformedCode.

    Seal and serial are read without regard to case; everything else has exactly one text.
    At most 256 bytes are looked at.
    """
    if len(raw_path) > MAX_PATH:
        raise _malformed("length")
    try:
        text = raw_path if isinstance(raw_path, str) else raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("encoding") from None
    if not text.isascii() or not text.isprintable():
        raise _malformed("encoding")
    parts = text.split("/")
    if len(parts) < 3 or parts[0] != "":
        raise _malformed("structure")
    if parts[1] == AI_GTIN:
        return Code(_identity(parts[1:]))
    return _sealed(parts)


def _sealed(parts: list[str]) -> Code:
    if parts[2] != AI_GTIN:
        raise _malformed("structure")
    if len(parts[1]) != SEAL_LENGTH:
        raise _malformed("seal")
    try:
        seal = Seal.parse(parts[1].upper())
    except ValueError:
        raise _malformed("seal") from None
    identity = _identity(parts[2:])
    if identity.check is not None:
        raise _malformed("seal-on-compact")
    return Code(identity, seal)


def _identity(parts: list[str]) -> Identity:
    if len(parts) not in {2, 4}:
        raise _malformed("structure")
    gtin = parts[1]
    if not is_gtin14(gtin):
        raise _malformed("gtin")
    if len(parts) == 2:
        return Identity(gtin)
    qualifier, value = parts[2], parts[3]
    if qualifier == AI_LOT:
        if not is_lot(value):
            raise _malformed("lot")
        return Identity(gtin, lot=value)
    if qualifier == AI_SERIAL:
        return _item(gtin, value.upper())
    raise _malformed("structure")


def _item(gtin: str, text: str) -> Identity:
    try:
        if len(text) == SERIAL_LENGTH:
            return Identity(gtin, serial=Serial.parse(text))
        if len(text) == COMPACT_LENGTH:
            check = serial_number(text[SERIAL_LENGTH:])
            return Identity(gtin, serial=Serial.parse(text[:SERIAL_LENGTH]), check=check)
    except ValueError:
        raise _malformed("serial") from None
    raise _malformed("serial")


def is_base(text: str) -> bool:
    """Whether text can stand before a code: scheme and host in lower case, an optional port, no path."""
    return _BASE.fullmatch(text) is not None


def printed(base: str, code: Code) -> str:
    """The text that goes on the package: base address and canonical path."""
    return base + code.path


def path_of(text: str) -> str:
    """The raw path of a printed code: whatever stands behind scheme and host, up to a query.

    Takes a bare path as well, so that a person may paste either.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        slash = rest.find("/")
        text = rest[slash:] if slash >= 0 else "/"
    return re.split(r"[?#]", text, maxsplit=1)[0]
