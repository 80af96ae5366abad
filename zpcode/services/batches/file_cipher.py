"""The header of an encrypted file, which says whose file it is, and the cipher of its chunks (`encrypted_file`).

| Bytes | Field of the header |
|---|---|
| 8 | `zpcodes` and the version, 1 |
| 8 | the id of the file key |
| 4 | the number of the batch, little-endian |
| 4 | the id of the batch's signing key in ASCII; zeros at compact level |
| 1 | `C`: codes, `S`: signatures |
| 7 | zeros |
| 16 | the identity of the batch: SHA-256 over a prefix and the secret keys that its codes depend on, cut to 16 |
| 32 | the random salt |
| 16 | HMAC-SHA256 over the fields above, cut to 16 bytes |
"""

from __future__ import annotations

import enum
import hmac
import os
import struct
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zpcode.services.batches.file_keys import EncryptionKey

MAGIC: Final = b"zpcodes\x01"
_FIELDS: Final = struct.Struct("<8s8sI4s1s7x16s32s")
_MAC_BYTES: Final = 16
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
OVERHEAD: Final = _NONCE_BYTES + 16
"""Bytes that a chunk has on disk besides its content: the nonce and the tag."""
_PLACE: Final = struct.Struct("<QB")
HEADER_BYTES: Final = _FIELDS.size + _MAC_BYTES


class DamagedFile(Exception):
    """A chunk or a header is not what was written: altered, cut, of another file, or never complete."""


class Content(enum.Enum):
    """What a file contains."""

    CODES = b"C"
    SIGNATURES = b"S"


@dataclass(frozen=True, slots=True)
class FileLabel:
    """Which file it is: the batch by number and identity (16 bytes), its signing key ("" at compact level), the content."""

    number: int
    identity: bytes
    signing_key: str
    content: Content


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The header of a file as read. Its MAC is not checked yet: that needs the file key."""

    label: FileLabel
    key_id: bytes
    fields: bytes
    mac: bytes

    @classmethod
    def parse(cls, raw: bytes) -> Self | None:
        """The header in the first 96 bytes of a file; None where they are none."""
        if len(raw) != HEADER_BYTES or not raw.startswith(MAGIC):
            return None
        fields, mac = raw[: _FIELDS.size], raw[_FIELDS.size :]
        _, key_id, number, signing_key, content, identity, _ = _FIELDS.unpack(fields)
        try:
            label = FileLabel(number, identity, signing_key.rstrip(b"\0").decode("ascii"), Content(content))
        except ValueError:
            return None
        return cls(label, key_id, fields, mac)


class FileCipher:
    """The cipher of one file: it seals and opens its chunks."""

    def __init__(self, key: EncryptionKey, fields: bytes) -> None:
        salt = fields[-_SALT_BYTES:]
        derived = HKDF(hashes.SHA256(), 64, salt, b"zpcode-file/1\n" + fields).derive(key.secret)
        self._aead, self._mac_key, self._fields = AESGCM(derived[:32]), derived[32:], fields

    @classmethod
    def fresh(cls, key: EncryptionKey, label: FileLabel) -> Self:
        """The cipher of a new file: its salt is random, so no two files share a key, even with the same content."""
        signing_key, identity = label.signing_key.encode("ascii"), label.identity
        salt = os.urandom(_SALT_BYTES)
        return cls(key, _FIELDS.pack(MAGIC, key.id, label.number, signing_key, label.content.value, identity, salt))

    @classmethod
    def of(cls, key: EncryptionKey, header: FileHeader) -> Self:
        """The cipher of an existing file. Raises DamagedFile if the header has been altered."""
        cipher = cls(key, header.fields)
        if not hmac.compare_digest(cipher.header, header.fields + header.mac):
            raise DamagedFile("header")
        return cipher

    @property
    def header(self) -> bytes:
        """The header as it is written: 96 bytes."""
        return self._fields + hmac.digest(self._mac_key, self._fields, "sha256")[:_MAC_BYTES]

    def seal(self, index: int, content: bytes | memoryview, *, last: bool) -> bytes:
        """The chunk with this index, as on disk."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, content, _PLACE.pack(index, last))

    def open(self, index: int, chunk: bytes, *, last: bool) -> bytes:
        """The content of a chunk. Raises DamagedFile if it is not the chunk with this index."""
        if len(chunk) < OVERHEAD:
            raise DamagedFile(f"chunk {index}")
        nonce, sealed = chunk[:_NONCE_BYTES], chunk[_NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, sealed, _PLACE.pack(index, last))
        except InvalidTag:
            raise DamagedFile(f"chunk {index}") from None
