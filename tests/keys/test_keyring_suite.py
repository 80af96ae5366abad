"""ES256 against RFC 6979's own vectors, and the two halves of the suite against each other."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from keys import es256
from keys.signer import FileKey, generated

# RFC 6979, A.2.5: the private key, and (message, r, s) under SHA-256.
X = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
VECTORS = [
    (
        b"sample",
        0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
        0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
    ),
    (
        b"test",
        0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
        0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
    ),
]


@pytest.mark.parametrize(("message", "r", "s"), VECTORS)
def test_signatures_are_those_of_rfc_6979_with_low_s(message: bytes, r: int, s: int) -> None:
    key = FileKey(ec.derive_private_key(X, ec.SECP256R1()))
    low = min(s, es256.N - s)
    assert key.sign_raw(message) == r.to_bytes(32, "big") + low.to_bytes(32, "big")
    assert es256.verify_raw(key.public, message, key.sign_raw(message))


@given(st.integers(1, es256.N - 1), st.integers(1, es256.N - 1))
def test_a_signature_read_by_hand_is_what_the_library_reads(r: int, s: int) -> None:
    der = encode_dss_signature(r, s)
    assert decode_dss_signature(der) == (r, s)
    assert es256.raw_signature(der) == r.to_bytes(32, "big") + min(s, es256.N - s).to_bytes(32, "big")


def test_many_signatures_are_the_single_ones_end_to_end() -> None:
    key = generated()
    messages = [b"a", b"b", b"c" * 500]
    assert key.sign_each(messages) == b"".join(key.sign_raw(message) for message in messages)


def test_a_key_survives_its_jwk_and_its_pem() -> None:
    public = generated().public
    assert es256.public_from_jwk(es256.jwk_of(public)) == public
    assert es256.public_from_pem(es256.public_pem(public)) == public


@pytest.mark.parametrize("text", ["", "AAA", "AAAA=", "AA AA", "AAB", "éAAA", "AA+A"])
def test_base64url_has_one_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64url|ASCII"):
        es256.unb64url(text, 2 if text == "AAB" else 3)


def test_a_public_key_of_another_curve_is_not_taken() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(ValueError, match="curve"):
        es256.public_from_pem(es256.public_pem(other))
