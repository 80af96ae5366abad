"""GS1 Digital Link: the code in a raw request path.

The path of a scan is untrusted input. Only `read` and `parse` read it; they raise `MalformedCode` and nothing else. All
characters of a printed code are unreserved in RFC 3986, so a path with a percent sign is malformed, and nothing is
decoded.
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
# One expression for the whole path, because it runs for every scan.
_CODE = re.compile(
    rf"(?:/({_SEAL.pattern}))?/01/([0-9]{{14}})"
    rf"(?:/10/([0-9A-Z.-]{{1,20}})|/21/([0-9A-Za-z]{{{SERIAL_LENGTH}}}(?:[0-9A-Za-z]{{{CHECK_LENGTH}}})?))?",
    re.ASCII,
)
_BASE = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.ASCII)

REASONS: Final = {
    "length": Text("码过长", "the code is too long"),
    "encoding": Text("码中含有不允许的字符", "the code contains characters that no code has"),
    "structure": Text("码的结构有误", "the parts of the code are not in the right order"),
    "seal": Text("签章部分不完整或有误", "the seal is incomplete or mistyped"),
    "gtin": Text("商品条码（GTIN）无效", "the GTIN is not valid: 14 digits with a check digit"),
    "lot": Text("批号无效", "the lot is not valid: 1 to 20 of 0-9 A-Z . -"),
    "serial": Text("序列号无效", "the serial is not valid: 12 or 20 characters"),
    "seal-on-compact": Text("短码不带签章", "a compact code carries no seal"),
}


def _malformed(reason: str) -> MalformedCode:
    return MalformedCode(reason, REASONS[reason])


def parse(raw_path: bytes | str) -> Code:
    """The code in a raw request path (without scheme, host or query). Raises MalformedCode.

    Seal and serial may be in lower case; every other part has exactly one spelling. A path has at most 256 bytes.
    """
    return read(raw_path)[0]


def read(raw_path: bytes | str) -> tuple[Code, str]:
    """As `parse`, and the canonical path from `/01/` on, which the seal covers."""
    if len(raw_path) > MAX_PATH:
        raise _malformed("length")
    try:
        text = raw_path if isinstance(raw_path, str) else raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise _malformed("encoding") from None
    match = _CODE.fullmatch(text)
    if match is None:
        raise _malformed(_reason(text))
    seal, gtin, lot, serial = match.groups()
    sealed = None if seal is None else _seal(seal)
    identity = _identity(gtin, lot, serial)
    if sealed is not None and identity.check is not None:
        raise _malformed("seal-on-compact")
    # Only seal and serial may be in lower case, so upper case gives the canonical text.
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
    """Why a path is not a code: the first wrong part from the left, a key of `REASONS`."""
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
    """Whether text is a base address for codes: scheme and host in lower case, an optional port, no path."""
    return _BASE.fullmatch(text) is not None


def path_of(text: str) -> str:
    """The raw path of a printed code: the text after scheme and host, without query and fragment.

    A text without scheme and host is taken as a path, so that a person may paste either.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        slash = rest.find("/")
        text = rest[slash:] if slash >= 0 else "/"
    return re.split(r"[?#]", text, maxsplit=1)[0]
