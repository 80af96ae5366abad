"""A file that is encrypted at rest: written part by part, continued after a crash, and read from any offset.

The construction is that of Tink's AES-GCM-HKDF streaming AEAD (https://developers.google.com/tink/streaming-aead): each
file has its own key, derived with HKDF (RFC 5869) from the file key, a random salt and the whole header, and the content
is a sequence of chunks, each sealed with AES-256-GCM (NIST SP 800-38D). The associated data of a chunk are its index and
whether it is the last, so chunks cannot be exchanged, repeated, left out or cut off.

Unlike Tink's, each chunk has a random nonce of 96 bits: an interrupted file is continued, and the chunk at its end is
then written again with more or other content. A counter as nonce would be used twice. A file of 10⁹ codes has some 4·10⁶
chunks, far below the 2³² random nonces that the standard allows for one key.

On disk: a header of 96 bytes, then the chunks. A chunk is its nonce (12 bytes), up to 64 KiB of content encrypted, and
the tag (16 bytes). Each chunk but the last has exactly 64 KiB of content.

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
import io
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from zpcode.services.batches.file_keys import EncryptionKey

CHUNK_BYTES: Final = 64 * 1024
MAGIC: Final = b"zpcodes\x01"
_FIELDS: Final = struct.Struct("<8s8sI4s1s7x16s32s")
_MAC_BYTES: Final = 16
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_OVERHEAD: Final = _NONCE_BYTES + 16
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
    """Which file it is: the batch by its number and identity (16 bytes), its signing key ("" at compact level), the content."""

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


def disk_bytes(size: int) -> int:
    """How many bytes a file with `size` bytes of content has on disk."""
    return HEADER_BYTES + size + _OVERHEAD * max(1, -(-size // CHUNK_BYTES))


def content_bytes(on_disk: int) -> int:
    """How many bytes of content a file of this size has; the reverse of `disk_bytes`."""
    chunks, rest = divmod(max(0, on_disk - HEADER_BYTES), CHUNK_BYTES + _OVERHEAD)
    return chunks * CHUNK_BYTES + max(0, rest - _OVERHEAD)


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
        if len(chunk) < _OVERHEAD:
            raise DamagedFile(f"chunk {index}")
        nonce, sealed = chunk[:_NONCE_BYTES], chunk[_NONCE_BYTES:]
        try:
            return self._aead.decrypt(nonce, sealed, _PLACE.pack(index, last))
        except InvalidTag:
            raise DamagedFile(f"chunk {index}") from None


class DecryptedFile(io.RawIOBase):
    """The content of a file, read from any offset: only the chunks that are needed are decrypted.

    `complete`: the file is finished. Its last chunk must be marked as the last one, and `close` closes the file. An
    unfinished file stays open. Reading raises DamagedFile.
    """

    def __init__(self, file: BinaryIO, cipher: FileCipher, *, complete: bool) -> None:
        super().__init__()
        self._file, self._cipher, self._complete = file, cipher, complete
        body = os.fstat(file.fileno()).st_size - HEADER_BYTES
        self._chunks = -(-body // (CHUNK_BYTES + _OVERHEAD))
        self.size = content_bytes(body + HEADER_BYTES)
        self._at = 0
        self._index, self._content = -1, b""

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The offset in the content."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset in the content."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to the end of the present chunk; 0 at the end of the file."""
        index, offset = divmod(self._at, CHUNK_BYTES)
        if index >= self._chunks:
            if self._complete and not self._chunks:
                raise DamagedFile("no chunks")
            return 0
        part = self.chunk(index)[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def chunk(self, index: int) -> bytes:
        """The content of one chunk; the last one read is remembered."""
        if index != self._index:
            place = HEADER_BYTES + index * (CHUNK_BYTES + _OVERHEAD)
            sealed = os.pread(self._file.fileno(), CHUNK_BYTES + _OVERHEAD, place)
            self._content, self._index = self._opened(index, sealed), index
        return self._content

    def close(self) -> None:
        """Close it, and the file if that is finished."""
        if not self.closed and self._complete:
            self._file.close()
        super().close()

    def _opened(self, index: int, sealed: bytes) -> bytes:
        last = index == self._chunks - 1
        if last and not self._complete:
            try:
                return self._cipher.open(index, sealed, last=False)
            except DamagedFile:
                pass  # finished, and not renamed yet
        return self._cipher.open(index, sealed, last=last)


class EncryptedAppender:
    """Appends to a file. What `append` has returned from survives the death of the process; `finish` is needed once.

    The chunk at the end is written again as it grows. `file` is open for reading and writing; `cipher` is that of its
    header, which is on disk. `truncate` comes first.
    """

    def __init__(self, file: BinaryIO, cipher: FileCipher) -> None:
        self._file, self._cipher = file, cipher
        self._index, self._end = 0, b""

    def truncate(self, size: int, whole: DecryptedFile | None = None) -> None:
        """Keep the first `size` bytes of the content. `whole` reads the content; not needed for size 0."""
        self._index = max(0, -(-size // CHUNK_BYTES) - 1)
        self._end = whole.chunk(self._index)[: size - self._index * CHUNK_BYTES] if whole and size else b""
        self._file.truncate(self._place)

    def append(self, content: bytes | memoryview) -> None:
        """Write the next bytes."""
        place, view, chunks = self._place, memoryview(content), []
        while len(self._end) + len(view) > CHUNK_BYTES:
            room = CHUNK_BYTES - len(self._end)
            full = self._end + view[:room] if self._end else view[:room]
            chunks.append(self._cipher.seal(self._index, full, last=False))
            self._index, self._end, view = self._index + 1, b"", view[room:]
        self._end += bytes(view)
        chunks.append(self._cipher.seal(self._index, self._end, last=False))
        self._write(place, chunks)

    def finish(self) -> None:
        """Mark the chunk at the end as the last one, and wait until all bytes are on disk."""
        self._write(self._place, [self._cipher.seal(self._index, self._end, last=True)])
        os.fsync(self._file.fileno())

    @property
    def _place(self) -> int:
        return HEADER_BYTES + self._index * (CHUNK_BYTES + _OVERHEAD)

    def _write(self, place: int, chunks: list[bytes]) -> None:
        self._file.seek(place)
        self._file.writelines(chunks)
        self._file.flush()
