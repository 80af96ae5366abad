"""The layout of codes for many items at once, in NumPy: fast enough to issue ten million codes.

Only the signer and the exports use it; the scan path never imports it. Tests compare every function with its scalar
version in `payload`, `permutation` and `base32`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from zpcode.wire.base32 import CROCKFORD, RFC4648
from zpcode.wire.payload import CHECK_LENGTH, COMPACT_DOMAIN, SERIAL_LENGTH, SIGNATURE_BYTES
from zpcode.wire.permutation import HALF, MASK, ROUNDS, SLOT_BITS, P, block_cipher

Bytes2D = npt.NDArray[np.uint8]
_CROCKFORD = np.frombuffer(CROCKFORD.encode("ascii"), np.uint8)
_RFC4648 = np.frombuffer(RFC4648.encode("ascii"), np.uint8)
_BLOCK = 64  # the block size of HMAC-SHA-256 in bytes (RFC 2104)


def slots(key: bytes, first: int, count: int) -> npt.NDArray[np.uint64]:
    """The printed slots of the items `first` … `first + count - 1`: `Permutation.slot` for each."""
    cipher = block_cipher(key)
    blocks = np.zeros((count, 4), ">u4")
    masked = np.frombuffer(cipher.update(P), ">u4")
    index = np.arange(first, first + count, dtype=np.uint64)
    a = (index >> np.uint64(HALF)).astype(np.uint32)
    b = (index & np.uint64(MASK)).astype(np.uint32)
    for number in range(ROUNDS):
        blocks[:, :3] = masked[:3]
        blocks[:, 3] = (b | np.uint32(number << 24)) ^ np.uint32(masked[3])
        out = np.frombuffer(cipher.update(blocks.tobytes()), ">u4").reshape(count, 4)
        a, b = b, (a + out[:, 1].astype(np.uint32)) & np.uint32(MASK)
    return (a.astype(np.uint64) << np.uint64(HALF)) | b.astype(np.uint64)


def _groups(numbers: npt.NDArray[np.uint64], length: int) -> npt.NDArray[np.uint64]:
    shifts = np.arange(5 * (length - 1), -1, -5, dtype=np.uint64)
    groups: npt.NDArray[np.uint64] = (numbers[:, None] >> shifts) & np.uint64(31)
    return groups


def serials(batch: int, slots_: npt.NDArray[np.uint64]) -> Bytes2D:
    """Serial texts, one row of 12 ASCII bytes for each slot of one batch."""
    numbers = np.uint64(batch << SLOT_BITS) | slots_
    return _CROCKFORD[_groups(numbers, SERIAL_LENGTH)]


def seals(signatures: bytes) -> Bytes2D:
    """Signature texts, one row of 103 ASCII bytes for each 64 bytes of raw r‖s."""
    count = len(signatures) // SIGNATURE_BYTES
    padded = np.zeros((count, 65), np.uint8)  # 65 bytes are thirteen groups of 40 bits
    padded[:, :SIGNATURE_BYTES] = np.frombuffer(signatures, np.uint8).reshape(count, SIGNATURE_BYTES)
    five = padded.reshape(count, 13, 5).astype(np.uint64)
    packed = np.zeros((count, 13), np.uint64)
    for position in range(5):
        packed = (packed << np.uint64(8)) | five[:, :, position]
    text = _RFC4648[_groups(packed.reshape(-1), 8)].reshape(count, 104)
    return text[:, :103]


def checks(key: bytes, gtin: str, serial_rows: Bytes2D) -> Bytes2D:
    """Compact checks, one row of 8 ASCII bytes for each row of serials: `payload.check_of` for each.

    The two HMAC pads are hashed once and copied (RFC 2104, section 4), which halves the time.
    """
    block = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    inner.update(COMPACT_DOMAIN + f"/01/{gtin}/21/".encode("ascii"))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    digests = bytearray()
    text = serial_rows.tobytes()
    for start in range(0, len(text), SERIAL_LENGTH):
        first = inner.copy()
        first.update(text[start : start + SERIAL_LENGTH])
        second = outer.copy()
        second.update(first.digest())
        digests += second.digest()[:5]
    five = np.frombuffer(bytes(digests), np.uint8).reshape(-1, 5).astype(np.uint64)
    packed = np.zeros(len(five), np.uint64)
    for position in range(5):
        packed = (packed << np.uint64(8)) | five[:, position]
    return _CROCKFORD[_groups(packed, CHECK_LENGTH)]
