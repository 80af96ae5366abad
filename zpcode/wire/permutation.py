"""The keyed permutation between an item's index in its batch and its printed slot.

NIST SP 800-38G, FF1 with AES-128, radix 2, 34 digits, empty tweak: a bijection on 0 … 2³⁴-1.
Items that follow each other on the packaging line have unrelated serials, so a serial does not reveal the size of its
batch. Indexes have no gaps, so status and history for each item are small.

With two halves of 17 bits FF1's PRF is one AES block: P is constant and is encrypted once, Q is
`0…0 ‖ round ‖ half`. `zpcode.wire.bulk` has the NumPy version for many items.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

SLOT_BITS = 34
SLOTS = 1 << SLOT_BITS
HALF = 17
MASK = (1 << HALF) - 1
ROUNDS = 10
KEY_BYTES = 16
_BACKWARDS = tuple(number << 24 for number in reversed(range(ROUNDS)))
_from_bytes = int.from_bytes

# P = [1][2][1][radix, 3 bytes][rounds][u mod 256][n, 4 bytes][tweak length, 4 bytes]; step 5 of FF1.
P = bytes([1, 2, 1, 0, 0, 2, ROUNDS, HALF]) + (2 * HALF).to_bytes(4, "big") + bytes(4)
# The PRF's first block is P, its second Q: sixteen bytes of which the last four are round ‖ half (b = 3).


def block_cipher(key: bytes) -> CipherContext:
    """AES-128 on single blocks, the pseudo-random permutation that FF1 is built on."""
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - FF1 chains single blocks itself


class Permutation:
    """The permutation of one batch. `key` is 16 random bytes, stored with the batch.

    Raises ValueError if the key is not 16 bytes.
    """

    __slots__ = ("_encrypt", "_first")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a permutation key is 16 bytes")
        self._encrypt = block_cipher(key).update
        self._first = _from_bytes(self._encrypt(P), "big")

    def _round(self, number: int, half: int) -> int:
        # S is the first d = 8 bytes of R; NUM(S) mod 2^17 are the low bits of byte 7 and before.
        block = (self._first ^ (number << 24 | half)).to_bytes(16, "big")
        return _from_bytes(self._encrypt(block)[5:8], "big") & MASK

    def slot(self, index: int) -> int:
        """The printed slot of an item; index and slot are 0 … 2³⁴-1."""
        a, b = index >> HALF, index & MASK
        for number in range(ROUNDS):
            a, b = b, (a + self._round(number, b)) & MASK
        return a << HALF | b

    def index(self, slot: int) -> int:
        """The index of the item with this printed slot: the inverse of `slot`."""
        a, b = slot >> HALF, slot & MASK
        first, encrypt = self._first, self._encrypt  # inlined for speed: the first scan of a code runs ten rounds
        for counter in _BACKWARDS:
            a, b = (b - _from_bytes(encrypt((first ^ (counter | a)).to_bytes(16, "big"))[5:8], "big")) & MASK, a
        return a << HALF | b
