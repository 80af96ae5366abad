"""The permutation is FF1 of NIST SP 800-38G: compared with a plain FF1 that passes NIST's samples."""

from __future__ import annotations

import itertools
import math

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from zpcode.wire.permutation import SLOT_BITS, SLOTS, Permutation

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
KEY = bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C")


def _prf(key: bytes, data: bytes) -> bytes:
    """Algorithm 6: the last block of CBC-MAC."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    return encryptor.update(data)[-16:]


def _number(digits: list[int], radix: int) -> int:
    value = 0
    for digit in digits:
        value = value * radix + digit
    return value


def _digits(value: int, radix: int, length: int) -> list[int]:
    digits = []
    for _ in range(length):
        value, digit = divmod(value, radix)
        digits.append(digit)
    return digits[::-1]


def _ff1(key: bytes, radix: int, tweak: bytes, plain: list[int]) -> list[int]:
    """Algorithm 7, step by step, for any radix, tweak and length."""
    n, t = len(plain), len(tweak)
    u = n // 2
    v = n - u
    a, b = plain[:u], plain[u:]
    width = math.ceil(math.ceil(v * math.log2(radix)) / 8)
    d = 4 * math.ceil(width / 4) + 4
    p = bytes([1, 2, 1]) + radix.to_bytes(3, "big") + bytes([10, u % 256]) + n.to_bytes(4, "big") + t.to_bytes(4, "big")
    for i in range(10):
        q = tweak + bytes((-t - width - 1) % 16) + bytes([i]) + _number(b, radix).to_bytes(width, "big")
        r = _prf(key, p + q)
        s = r
        for j in range(1, math.ceil(d / 16)):
            masked = int.from_bytes(r, "big") ^ j
            s += _prf(key, masked.to_bytes(16, "big"))
        y = int.from_bytes(s[:d], "big")
        m = u if i % 2 == 0 else v
        c = (_number(a, radix) + y) % radix**m
        a, b = b, _digits(c, radix, m)
    return a + b


@pytest.mark.parametrize(
    ("radix", "tweak", "plain", "cipher"),
    [
        (10, "", "0123456789", "2433477484"),
        (10, "39383736353433323130", "0123456789", "6124200773"),
        (36, "3737373770717273373737", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    ],
)
def test_the_plain_ff1_passes_nists_samples(radix: int, tweak: str, plain: str, cipher: str) -> None:
    """Samples 1 to 3 of NIST's FF1 examples, AES-128."""
    encrypted = _ff1(KEY, radix, bytes.fromhex(tweak), [_DIGITS.index(digit) for digit in plain])
    assert "".join(_DIGITS[digit] for digit in encrypted) == cipher


@given(st.binary(min_size=16, max_size=16), st.integers(0, SLOTS - 1))
def test_a_slot_is_what_ff1_makes_of_an_index(key: bytes, index: int) -> None:
    """Radix 2, 34 digits, no tweak."""
    expected = _ff1(key, 2, b"", _digits(index, 2, SLOT_BITS))
    assert Permutation(key).slot(index) == _number(expected, 2)


@given(st.binary(min_size=16, max_size=16), st.integers(0, SLOTS - 1))
def test_slot_and_index_undo_each_other(key: bytes, value: int) -> None:
    """In both directions: it is a bijection on 0 … 2³⁴-1."""
    permutation = Permutation(key)
    assert permutation.index(permutation.slot(value)) == value
    assert permutation.slot(permutation.index(value)) == value
    assert 0 <= permutation.slot(value) < SLOTS


def test_neighbours_on_the_line_do_not_follow_each_other_in_print() -> None:
    """The slots of a batch's first thousand items are spread over the whole range."""
    slots = [Permutation(KEY).slot(index) for index in range(1000)]
    assert all(abs(after - before) > 1 for before, after in itertools.pairwise(slots))
    assert min(slots) < SLOTS // 100
    assert max(slots) > SLOTS - SLOTS // 100


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    """Sixteen bytes and nothing else."""
    with pytest.raises(ValueError, match="16 bytes"):
        Permutation(bytes(size))
