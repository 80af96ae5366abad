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
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO, Final

from zpcode.services.batches.file_cipher import HEADER_BYTES, OVERHEAD, DamagedFile, FileCipher

CHUNK_BYTES: Final = 64 * 1024


def disk_bytes(size: int) -> int:
    """How many bytes a file with `size` bytes of content has on disk."""
    return HEADER_BYTES + size + OVERHEAD * max(1, -(-size // CHUNK_BYTES))


def content_bytes(on_disk: int) -> int:
    """How many bytes of content a file of this size has; the reverse of `disk_bytes`."""
    chunks, rest = divmod(max(0, on_disk - HEADER_BYTES), CHUNK_BYTES + OVERHEAD)
    return chunks * CHUNK_BYTES + max(0, rest - OVERHEAD)


class DecryptedFile(io.RawIOBase):
    """The content of a file, read from any offset: only the chunks that are needed are decrypted.

    `complete`: the file is finished. Its last chunk must be marked as the last one, and `close` closes the file. An
    unfinished file stays open. Reading raises DamagedFile.
    """

    def __init__(self, file: BinaryIO, cipher: FileCipher, *, complete: bool) -> None:
        super().__init__()
        self._file, self._cipher, self._complete = file, cipher, complete
        body = os.fstat(file.fileno()).st_size - HEADER_BYTES
        self._chunks = -(-body // (CHUNK_BYTES + OVERHEAD))
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
            place = HEADER_BYTES + index * (CHUNK_BYTES + OVERHEAD)
            sealed = os.pread(self._file.fileno(), CHUNK_BYTES + OVERHEAD, place)
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
        """Write the next bytes. Each chunk is written as soon as it is sealed: the processor's cache still has it then."""
        self._file.seek(self._place)
        view = memoryview(content)
        while len(self._end) + len(view) > CHUNK_BYTES:
            room = CHUNK_BYTES - len(self._end)
            self._write(self._end + view[:room] if self._end else view[:room])
            self._index, self._end, view = self._index + 1, b"", view[room:]
        self._end += bytes(view)
        self._write(self._end)
        self._file.flush()

    def finish(self) -> None:
        """Mark the chunk at the end as the last one, and wait until all bytes are on disk."""
        self._file.seek(self._place)
        self._write(self._end, last=True)
        self._file.flush()
        os.fsync(self._file.fileno())

    @property
    def _place(self) -> int:
        return HEADER_BYTES + self._index * (CHUNK_BYTES + OVERHEAD)

    def _write(self, content: bytes | memoryview, *, last: bool = False) -> None:
        self._file.write(self._cipher.seal(self._index, content, last=last))
