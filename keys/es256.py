"""The suite ES256: ECDSA on P-256 with SHA-256, signatures as raw r‖s of 64 bytes with low s.

FIPS 186-5 (ECDSA), RFC 6979 (deterministic nonces, used by the signer), RFC 7518 section 3.4 (raw
form and the name), RFC 7517 (JWK). For every signature (r, s) there is a second valid one, (r, n - s).
Only the one with s ≤ n/2 is accepted here, so that a message has one signature and a code one text.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from zpcode.wire.payload import key_id_of

NAME: Final = "ES256"
SIGNATURE_BYTES: Final = 64
N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's base point (SP 800-186, section 3.2.1.3)."""
HALF_N: Final = N >> 1
_COORDINATE = 32
_MEMBERS = frozenset({"kty", "crv", "x", "y"})
_ALGORITHM = ec.ECDSA(hashes.SHA256())
_from_bytes = int.from_bytes


def verify_raw(public: ec.EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (64 bytes, low s) is a signature of `message` with the key `public`. Never raises."""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s = _from_bytes(signature[:32], "big"), _from_bytes(signature[32:], "big")
    if not (0 < r < N and 0 < s <= HALF_N):
        return False
    try:
        public.verify(encode_dss_signature(r, s), message, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def raw_signature(der: bytes) -> bytes:
    """Raw r‖s with low s from a DER Ecdsa-Sig-Value (RFC 3279, section 2.2.3) for P-256.

    The input comes from the cryptography library, so its lengths are trusted: SEQUENCE, INTEGER r, INTEGER s, every length
    below 128. It is parsed by hand because this runs once for every code of a batch.
    """
    end = 4 + der[3]
    s = _from_bytes(der[end + 2 :], "big")
    if s > HALF_N:
        s = N - s
    return (_from_bytes(der[4:end], "big") << 256 | s).to_bytes(64, "big")


def spki(public: ec.EllipticCurvePublicKey) -> bytes:
    """The key's DER SubjectPublicKeyInfo (RFC 5480). The key's id is made from its hash."""
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(public: ec.EllipticCurvePublicKey) -> str:
    """The key's id, four Base32 characters."""
    return key_id_of(spki(public))


def b64url(raw: bytes) -> str:
    """RFC 4648 base64url without padding, as JOSE writes it."""
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def unb64url(text: str, size: int) -> bytes:
    """`size` bytes from base64url without padding. Raises ValueError for any text but the canonical one."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("base64url") from error
    if len(raw) != size or b64url(raw) != text:
        raise ValueError("base64url")
    return raw


def jwk_of(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The public key as a JWK with exactly kty, crv, x and y."""
    numbers = public.public_numbers()
    x, y = (b64url(number.to_bytes(_COORDINATE, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def public_from_jwk(jwk: Mapping[str, str]) -> ec.EllipticCurvePublicKey:
    """The public key in a JWK.

    Raises ValueError if a member is missing or there is another one (`d` would be a published private key), if the curve is
    not P-256, or if the point is not on the curve.
    """
    if set(jwk) != _MEMBERS or jwk["kty"] != "EC" or jwk["crv"] != "P-256":
        raise ValueError("jwk")
    x, y = (_from_bytes(unb64url(jwk[name], _COORDINATE), "big") for name in ("x", "y"))
    return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()


def public_pem(public: ec.EllipticCurvePublicKey) -> bytes:
    """The public key in PEM, the form of the pinned root public key."""
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_from_pem(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The P-256 public key in a PEM file. Raises ValueError for any other content."""
    try:
        key = serialization.load_pem_public_key(pem)
    except Exception as error:  # the library does not list its exceptions
        raise ValueError("pem") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("curve")  # noqa: TRY004 - one class for every fault of the file
    return key
