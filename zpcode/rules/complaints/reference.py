"""The number of a complaint, its follow key, and the signed ticket of its form.

A number is `TS-YYYYMMDD-` and seven characters: six random characters of Crockford's Base32 and a check character (ISO
7064, MOD 37,36), so that a number misheard on the telephone is recognised as wrong. A number gives no access: that needs
the follow key, 128 bits of which only a hash is stored.

A ticket is a hidden field of the form. It prevents programs from sending forms that nobody opened. It has a nonce and
the time when the form was opened, under an HMAC, and is valid for one complaint from 3 s to 24 h after that time. The
follow key is derived from the nonce, so a form that is sent twice (a double tap, a reload) gets the same reply twice.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import re
from datetime import date
from typing import Final

from stdnum.iso7064 import mod_37_36

from zpcode.language.normalization import normalized_if_safe
from zpcode.wire.base32 import CROCKFORD, serial_text, typed_serial

RANDOM_CHARACTERS: Final = 6
NONCE_BYTES: Final = 16
SOONEST_SECONDS: Final = 3
LATEST_SECONDS: Final = 24 * 3600
_MAC_BYTES: Final = 16
_TIME_BYTES: Final = 6
_KEY_LENGTH: Final = 26
_NUMBER = re.compile(r"TS-?([0-9]{8})-?([0-9A-HJKMNP-TV-Z]{7})", re.ASCII)
_KEY = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}", re.ASCII)


class Fault(enum.StrEnum):
    """Why a ticket is refused."""

    FORGED = "forged"
    EARLY = "early"
    LATE = "late"


def number(day: date, randomness: int) -> str | None:
    """A complaint's number from its day in Shanghai and 30 random bits.

    None if the check character is I, L, O or U, which Crockford's Base32 does not use: one try in nine. The caller then
    tries again.
    """
    stem = f"{day:%Y%m%d}{serial_text(randomness % (1 << (5 * RANDOM_CHARACTERS)), RANDOM_CHARACTERS)}"
    check = mod_37_36.calc_check_digit(stem)
    return f"TS-{stem[:8]}-{stem[8:]}{check}" if check in CROCKFORD else None


def read_number(text: str) -> str | None:
    """A typed or pasted number in its canonical form; None if it is malformed or its check character is wrong."""
    plain = _plain(text).upper()
    if not plain.startswith("TS"):
        return None
    match = _NUMBER.fullmatch("TS" + typed_serial(plain[2:]))
    if match is None or not mod_37_36.is_valid(match[1] + match[2]):
        return None
    return f"TS-{match[1]}-{match[2]}"


def _plain(text: str) -> str:
    """A text without blanks, with full-width letters, digits and hyphens (from an input method) made half-width."""
    return re.sub(r"\s|[\u2010-\u2015\u2212]", "", normalized_if_safe("NFKC", text[:100]))


def ticket(secret: bytes, nonce: bytes, at: int) -> str:
    """A ticket issued at `at` (seconds since 1970): nonce (16 bytes), time and MAC as URL-safe Base64."""
    head = nonce + at.to_bytes(_TIME_BYTES, "big")
    return base64.urlsafe_b64encode(head + _mac(secret, b"ticket", head)).decode("ascii").rstrip("=")


def read_ticket(secret: bytes, text: str, now: int) -> bytes | Fault:
    """The nonce of a ticket that is valid at `now` (seconds); otherwise the fault."""
    try:
        raw = base64.urlsafe_b64decode(text[:100].encode("ascii") + b"==")
    except (UnicodeEncodeError, binascii.Error):
        return Fault.FORGED
    head, mac = raw[: NONCE_BYTES + _TIME_BYTES], raw[NONCE_BYTES + _TIME_BYTES :]
    if not hmac.compare_digest(mac, _mac(secret, b"ticket", head)):
        return Fault.FORGED
    age = now - int.from_bytes(head[NONCE_BYTES:], "big")
    if age < SOONEST_SECONDS:
        return Fault.EARLY
    return Fault.LATE if age > LATEST_SECONDS else head[:NONCE_BYTES]


def follow_key(secret: bytes, nonce: bytes) -> str:
    """The follow key of the complaint with this ticket's nonce: 128 bits as 26 Crockford characters."""
    return serial_text(int.from_bytes(_mac(secret, b"follow", nonce), "big"), _KEY_LENGTH)


def read_key(text: str) -> str:
    """A typed or pasted follow key in its canonical form; empty if the text is not a follow key."""
    plain = typed_serial(_plain(text))
    return plain if _KEY.fullmatch(plain) else ""


def key_hash(key: str) -> bytes:
    """The SHA-256 of a follow key; only this is stored. The key is 128 random bits, so it needs no slow hash."""
    return hashlib.sha256(key.encode("ascii")).digest()


def likeness(secret: bytes, *parts: bytes) -> bytes:
    """An HMAC over all parts of a complaint: the same complaint sent twice has the same HMAC."""
    return hmac.digest(secret, b"likeness" + b"".join(len(part).to_bytes(8, "big") + part for part in parts), "sha256")


def _mac(secret: bytes, purpose: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, purpose + message, "sha256")[:_MAC_BYTES]
