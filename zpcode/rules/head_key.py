"""The key that heads of the projection are authenticated with, and the code that shows it (HMAC-SHA-256).

Who may write to Redis can write any head. So the authority adds to its marks a message authentication code under a key that
neither Redis nor PostgreSQL ever sees: it is derived from a key of the code files. Marks without such a code were not written
by this installation, or were changed since (docs/adr/0016).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
FINGERPRINT_DIGITS: Final = 32
_DERIVATION: Final = b"zpcode-head-key/1\n"
_FINGERPRINT: Final = b"zpcode-head-fingerprint/1\n"
_SEPARATOR: Final = b":"


@dataclass(frozen=True, slots=True)
class HeadKey:
    """One key: 32 bytes. `fingerprint` (32 hex digits) names it, in the database and beside each code, and says nothing about it."""

    secret: bytes = field(repr=False)
    fingerprint: str

    @classmethod
    def derived(cls, file_key: bytes) -> Self:
        """The key that follows from a key of the code files: HKDF-SHA-256 (RFC 5869) with a label that nothing else uses."""
        secret = HKDF(hashes.SHA256(), KEY_BYTES, None, _DERIVATION).derive(file_key)
        return cls(secret, hashlib.sha256(_FINGERPRINT + secret).hexdigest()[:FINGERPRINT_DIGITS])

    def code(self, marks: bytes) -> bytes:
        """What is stored beside the marks: the fingerprint, a colon, and HMAC-SHA-256 over exactly these bytes in hex."""
        return _SEPARATOR.join((self.fingerprint.encode("ascii"), self._mac(marks)))

    def made(self, marks: bytes, code: bytes) -> bool:
        """Whether this key made a code of these marks."""
        return bool(marks) and hmac.compare_digest(self.code(marks), code)

    def _mac(self, marks: bytes) -> bytes:
        return hmac.digest(self.secret, marks, "sha256").hex().encode("ascii")


def maker(keys: Iterable[HeadKey], marks: bytes, code: bytes) -> HeadKey | None:
    """The key that made a code of these marks; None if none of them did."""
    return next((key for key in keys if key.made(marks, code)), None)
