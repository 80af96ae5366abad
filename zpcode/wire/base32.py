"""The two Base32 alphabets of a code.

The seal is RFC 4648 section 6 without padding; the serial is Crockford's Base32. Both are parsed with `int(text, 32)`,
which CPython implements in C: a seal of 107 characters takes about a microsecond.
"""

from __future__ import annotations

import base64
import re

RFC4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PYTHON = "0123456789ABCDEFGHIJKLMNOPQRSTUV"  # the digits of int(…, 32)

_PAIRS = [a + b for a in CROCKFORD for b in CROCKFORD]

_FROM_RFC4648 = str.maketrans(RFC4648, _PYTHON)
_FROM_CROCKFORD = str.maketrans(CROCKFORD, _PYTHON)
_RFC4648_ONLY = re.compile(r"[A-Z2-7]+", re.ASCII)
_CROCKFORD_ONLY = re.compile(r"[0-9A-HJKMNP-TV-Z]+", re.ASCII)
_TYPED = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def seal_text(raw: bytes) -> str:
    """Bytes as RFC 4648 Base32 without padding; spare bits of the last character are zero."""
    return base64.b32encode(raw).decode("ascii").rstrip("=")


def is_seal_text(text: str) -> bool:
    """Whether text is one or more upper-case RFC 4648 Base32 characters."""
    return _RFC4648_ONLY.fullmatch(text) is not None


def seal_bytes(text: str, size: int) -> bytes:
    """`size` bytes from upper-case RFC 4648 Base32 without padding.

    Raises ValueError on another character, on a wrong length, or if spare bits are not zero: otherwise several texts
    would be the same seal.
    """
    if len(text) * 5 // 8 != size or (spare := len(text) * 5 - size * 8) >= 5:
        raise ValueError("length")
    if not is_seal_text(text):
        raise ValueError("alphabet")
    number = int(text.translate(_FROM_RFC4648), 32)
    if number & ((1 << spare) - 1):
        raise ValueError("spare bits")
    return (number >> spare).to_bytes(size, "big")


def serial_text(number: int, length: int) -> str:
    """A number of at most `5 * length` bits as `length` Crockford characters, most significant first; `length` is even."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(5 * (length - 2), -1, -10)])


def serial_number(text: str) -> int:
    """The number in upper-case Crockford characters. Raises ValueError on any other character."""
    if not _CROCKFORD_ONLY.fullmatch(text):
        raise ValueError("alphabet")
    return int(text.translate(_FROM_CROCKFORD), 32)


def typed_serial(text: str) -> str:
    """A typed serial in canonical characters (Crockford): upper case, O→0, I and L→1, without hyphens and blanks."""
    return text.upper().translate(_TYPED)
