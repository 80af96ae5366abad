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
from zpcode.wire.payload import CHECK_LENGTH, SEAL_LENGTH, SERIAL_LENGTH, Code, Identity, Seal, Serial

MAX_PATH = 256
_SEAL = re.compile(rf"[A-Za-z2-7]{{{SEAL_LENGTH}}}", re.ASCII)
# A long path in one step: this runs for every scan.
_CODE = re.compile(
    rf"(?:/({_SEAL.pattern}))?/01/([0-9]{{14}})"
    rf"(?:/10/([0-9A-Z.-]{{1,20}})|/21/([0-9A-Za-z]{{{SERIAL_LENGTH}}}(?:[0-9A-Za-z]{{{CHECK_LENGTH}}})?))?",
    re.ASCII,
)
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
    return read(raw_path)[0]


def read(raw_path: bytes | str) -> tuple[Code, str]:
    """As `parse`, with the canonical path from `/01/` on, which the seal covers."""
    if len(raw_path) > MAX_PATH:
        raise _malformed("length")
    try:
        text = raw_path if isinstance(raw_path, str) else raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("encoding") from None
    found = _CODE.fullmatch(text)
    if found is None:
        raise _malformed(_reason(text))
    seal, gtin, lot, serial = found.groups()
    sealed = None if seal is None else _seal(seal)
    identity = _identity(gtin, lot, serial)
    if sealed is not None and identity.check is not None:
        raise _malformed("seal-on-compact")
    # Only letters of seal and serial may come in lower case, so upper case is the canonical text.
    return Code(identity, sealed), (text if seal is None else text[1 + SEAL_LENGTH :]).upper()


def _seal(text: str) -> Seal:
    try:
        return Seal.parse(text.upper())
    except ValueError:
        raise _malformed("seal") from None


def _identity(gtin: str, lot: str | None, serial: str | None) -> Identity:
    if not is_gtin14(gtin):
        raise _malformed("gtin")
    if lot is not None:
        if not is_lot(lot):
            raise _malformed("lot")
        return Identity(gtin, lot)
    return Identity(gtin) if serial is None else _item(gtin, serial.upper())


def _item(gtin: str, text: str) -> Identity:
    try:
        if len(text) == SERIAL_LENGTH:
            return Identity(gtin, None, Serial.parse(text))
        check = serial_number(text[SERIAL_LENGTH:])
        return Identity(gtin, None, Serial.parse(text[:SERIAL_LENGTH]), check)
    except ValueError:
        raise _malformed("serial") from None


def _reason(text: str) -> str:
    """Why a path does not have the form of a code: the first part, read from the left, that is not as it should be."""
    if not text.isascii() or not text.isprintable():
        return "encoding"
    parts = text.split("/")
    if len(parts) < 3 or parts[0] != "":
        return "structure"
    if parts[1] != AI_GTIN:
        if parts[2] != AI_GTIN:
            return "structure"
        if _SEAL.fullmatch(parts.pop(1)) is None:
            return "seal"
    if len(parts) not in {3, 5}:
        return "structure"
    if not is_gtin14(parts[2]):
        return "gtin"
    return {AI_LOT: "lot", AI_SERIAL: "serial"}.get(parts[3] if len(parts) == 5 else "", "structure")


def is_base(text: str) -> bool:
    """Whether text can stand before a code: scheme and host in lower case, an optional port, no path."""
    return _BASE.fullmatch(text) is not None


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
