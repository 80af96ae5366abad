"""The messages between signer and client on the unix socket.

A connection carries one request frame and one reply frame; then the signer closes it. A frame is its length (4 bytes,
big-endian) and MessagePack. A new connection costs about 50 µs, and a request signs for up to a second. In return the kernel
gives each request to an idle process, and no connection can become stale.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

import msgspec

from keys.audit_head import SignedHead

MAX_ITEMS: Final = 65_536
MAX_REQUEST: Final = 1 << 20
MAX_ANSWER: Final = (4 << 20) + 4096  # 65 536 signatures of 64 bytes, and the other fields
LOG_PAGE: Final = 1 << 20
"""Bytes of the signing log in one reply, at most. A reply is whole lines."""
MAX_SOCKET_PATH: Final = 107  # sun_path of 108 bytes with its closing zero, unix(7)
_LENGTH = struct.Struct(">I")
HEADER_BYTES: Final = _LENGTH.size


class ActiveKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="active-key"):
    """Ask for the key of a new batch."""


class SignProductCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="product"):
    """Sign the product code of a GTIN (14 digits)."""

    key_id: str
    gtin: str


class SignLotCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="lot"):
    """Sign the lot code of a GTIN and a lot (1 to 20 of `[0-9A-Z.-]`)."""

    key_id: str
    gtin: str
    lot: str


class Items(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="items"):
    """Sign the item codes of slots of one batch: `slots` is 1 … 65 536 numbers of 8 bytes, little-endian."""

    key_id: str
    gtin: str
    batch: int
    slots: bytes


class DescribeKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="describe-key"):
    """Ask whether a key that may sign repeats its signatures, and until when it may sign."""

    key_id: str


class Countersign(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="audit-head"):
    """Countersign the head of the audit chain: the id of its newest entry and the entry's hash (32 bytes)."""

    id: int
    hash: bytes


class HighWater(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="high-water"):
    """Ask how far the signer has come: its highest batch number and the newest head that it countersigned."""


class ReadLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="read-log"):
    """Ask for the lines of the newest file of the signing log from a byte offset on, which is the beginning of a line.

    `file` is the `file` of the page before, empty for the first page. The signer refuses if the log was rotated since.
    """

    offset: int
    file: str = ""


Request = ActiveKey | DescribeKey | SignProductCode | SignLotCode | Items | Countersign | HighWater | ReadLog


class LogPage(msgspec.Struct, frozen=True):
    """Whole lines of the signing log, with their line feeds; empty at its end.

    `end` is the offset after its last whole line. `file` is the hash of the file's first line: it tells one file from another.
    """

    lines: bytes
    end: int
    file: str


class SignerReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reply: a key id, signatures (64 bytes each, in the order of the request), or a refusal in two languages.

    `repeats` and `until` answer DescribeKey: whether the same message always gets the same signature, and the end of the key's
    validity in seconds since 1970.
    `head` answers Countersign and HighWater, `batch` answers HighWater: the highest batch number that item codes were signed for.
    `page` answers ReadLog.
    """

    key_id: str = ""
    signatures: bytes = b""
    repeats: bool = False
    until: int = 0
    head: SignedHead | None = None
    batch: int = 0
    page: LogPage | None = None
    zh: str = ""
    en: str = ""


def frame(message: Request | SignerReply) -> bytes:
    """A message as its frame."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


def body_size(header: bytes | bytearray) -> int:
    """The size of the body that follows a header of `HEADER_BYTES` bytes."""
    return int(_LENGTH.unpack(header)[0])


def send(connection: socket.socket, message: Request | SignerReply) -> None:
    """Send one frame. Raises OSError (TimeoutError is one) if the other side does not read it."""
    connection.sendall(frame(message))


def _exactly(connection: socket.socket, size: int, until: float) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        if (count := connection.recv_into(view[got:])) == 0:
            raise EOFError
        got += count
    return data


def receive(connection: socket.socket, limit: int, seconds: float) -> bytearray:
    """The body of one frame, at most `limit` bytes, received within `seconds`.

    Raises EOFError if the other side closes the connection, ValueError if the frame is too long, and OSError (TimeoutError is
    one) for all other faults.
    """
    until = time.monotonic() + seconds
    size = body_size(_exactly(connection, HEADER_BYTES, until))
    if size > limit:
        raise ValueError("frame too long")
    return _exactly(connection, size, until)
