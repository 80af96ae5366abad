"""The fields of a code, the bytes that its signature covers, and its canonical text.

The four kinds, as printed after the base address (the seal does not cover the base address):

    /SEAL/01/GTIN14                 product code  品类码
    /SEAL/01/GTIN14/10/LOT          lot code      批次码
    /SEAL/01/GTIN14/21/SERIAL       item code     单品码, serial of 12 characters
    /01/GTIN14/21/SERIAL            compact item code, serial of 20 characters, proof online only

SEAL is the key id (4 characters) and the signature (103), SERIAL is 26 bits of batch number and
34 bits of slot, COMPACT SERIAL adds 40 bits of truncated HMAC-SHA-256 (RFC 2104, RFC 4868 style).
"""

from __future__ import annotations

import enum
import hashlib
import hmac

import msgspec

from zpcode.wire.base32 import is_seal_text, seal_bytes, seal_text, serial_number, serial_text
from zpcode.wire.permutation import SLOT_BITS, SLOTS

DOMAIN = b"zpcode/1\n"
COMPACT_DOMAIN = b"zpcode/1/compact\n"

BATCH_BITS = 26
MAX_BATCH = (1 << BATCH_BITS) - 1
SERIAL_LENGTH = 12
CHECK_LENGTH = 8
COMPACT_LENGTH = SERIAL_LENGTH + CHECK_LENGTH
CHECK_BITS = 5 * CHECK_LENGTH

KEY_ID_LENGTH = 4
SIGNATURE_BYTES = 64
SIGNATURE_LENGTH = 103
SEAL_LENGTH = KEY_ID_LENGTH + SIGNATURE_LENGTH


class Level(enum.StrEnum):
    """The kinds of code."""

    PRODUCT = "product"
    LOT = "lot"
    ITEM = "item"
    COMPACT = "compact"

    @property
    def is_item(self) -> bool:
        """Whether each item has its own code."""
        return self in {Level.ITEM, Level.COMPACT}


class Serial(msgspec.Struct, frozen=True, gc=False):
    """The serial of an item: its batch (1 … 2²⁶-1) and its slot in the batch (0 … 2³⁴-1)."""

    batch: int
    slot: int

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= MAX_BATCH:
            raise ValueError("batch number")
        if not 0 <= self.slot < SLOTS:
            raise ValueError("slot")

    @property
    def text(self) -> str:
        """The serial as 12 Crockford characters."""
        return serial_text(self.batch << SLOT_BITS | self.slot, SERIAL_LENGTH)

    @classmethod
    def parse(cls, text: str) -> Serial:
        """The serial in 12 upper-case Crockford characters. Raises ValueError on anything else."""
        if len(text) != SERIAL_LENGTH:
            raise ValueError("length")
        number = serial_number(text)
        return cls(number >> SLOT_BITS, number & (SLOTS - 1))


class Identity(msgspec.Struct, frozen=True, gc=False):
    """What a code identifies: a product, a lot of a product, or an item of a product.

    At most one of `lot` and `serial` is set. Only a compact item code has `check`: its truncated HMAC as a number of 40
    bits.
    """

    gtin: str
    lot: str | None = None
    serial: Serial | None = None
    check: int | None = None

    @property
    def level(self) -> Level:
        """The kind of code this is."""
        if self.serial is not None:
            return Level.ITEM if self.check is None else Level.COMPACT
        return Level.PRODUCT if self.lot is None else Level.LOT

    @property
    def path(self) -> str:
        """The canonical path from `/01/` on: a GS1 Digital Link without its domain."""
        if self.serial is not None:
            check = "" if self.check is None else serial_text(self.check, CHECK_LENGTH)
            return f"/01/{self.gtin}/21/{self.serial.text}{check}"
        return f"/01/{self.gtin}" if self.lot is None else f"/01/{self.gtin}/10/{self.lot}"


class Seal(msgspec.Struct, frozen=True, gc=False):
    """A key id (4 Base32 characters) and a raw r‖s signature (64 bytes)."""

    key_id: str
    signature: bytes

    @property
    def text(self) -> str:
        """The seal as 107 Base32 characters."""
        return self.key_id + seal_text(self.signature)

    @classmethod
    def parse(cls, text: str) -> Seal:
        """The seal in 107 upper-case characters. Raises ValueError on anything else."""
        if len(text) != SEAL_LENGTH:
            raise ValueError("length")
        key_id = text[:KEY_ID_LENGTH]
        if not is_seal_text(key_id):  # any four characters of the alphabet are a key id
            raise ValueError("alphabet")
        return cls(key_id, seal_bytes(text[KEY_ID_LENGTH:], SIGNATURE_BYTES))


class Code(msgspec.Struct, frozen=True, gc=False):
    """A whole code. `seal` is None for a compact code, and for a code whose seal was removed."""

    identity: Identity
    seal: Seal | None = None

    @property
    def path(self) -> str:
        """The canonical printed path."""
        return self.identity.path if self.seal is None else f"/{self.seal.text}{self.identity.path}"


def signed_bytes(key_id: str, path: str) -> bytes:
    """The bytes that the signature covers: domain, key id and canonical path, in ASCII."""
    return b"%b%b\n%b" % (DOMAIN, key_id.encode("ascii"), path.encode("ascii"))


def key_id_of(spki: bytes) -> str:
    """A key's id: the first 20 bits of SHA-256 over its DER SubjectPublicKeyInfo (RFC 5280)."""
    return seal_text(hashlib.sha256(spki).digest()[:5])[:KEY_ID_LENGTH]


def check_of(key: bytes, gtin: str, serial: Serial) -> int:
    """A compact code's check: the first 40 bits of HMAC-SHA-256 under the batch's check key."""
    message = COMPACT_DOMAIN + Identity(gtin, serial=serial).path.encode("ascii")
    return int.from_bytes(hmac.digest(key, message, "sha256")[: CHECK_BITS // 8], "big")


def check_matches(key: bytes, identity: Identity) -> bool:
    """Whether a compact code's check is correct; compared in constant time. No check is correct under an empty key."""
    if identity.serial is None or identity.check is None or not key:
        return False
    expected = check_of(key, identity.gtin, identity.serial)
    size = CHECK_BITS // 8
    return hmac.compare_digest(expected.to_bytes(size, "big"), identity.check.to_bytes(size, "big"))
