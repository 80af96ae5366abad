"""The authority's client of the signer: it sends requests over the unix socket and has no private key.

Chunks of some ten thousand items keep both sides busy. N threads are served by N processes of the signer. A batch remembers
its first key and is finished with that key: after a rotation it is `retiring` and may still sign for such batches.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from keys.audit_head import SignedHead
from keys.log.reader import LogReading
from keys.protocol import (
    MAX_ANSWER,
    MAX_ITEMS,
    MAX_SOCKET_PATH,
    ActiveKey,
    Countersign,
    DescribeKey,
    HighWater,
    Items,
    LogPage,
    ReadLog,
    Request,
    SignerReply,
    SignLotCode,
    SignProductCode,
    receive,
    send,
)
from zpcode.errors import SignerError, SignerUnavailable, Text

__all__ = ["MAX_ITEMS", "SignedHead", "SignerClient", "SignerHighWater", "SigningService"]

_QUEUE_FULL_PAUSE = 0.01
_SIGNATURE = 64
_ANSWERS = msgspec.msgpack.Decoder(SignerReply)

Slots = bytes | npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class SignerHighWater:
    """How far the signer has come: the highest batch number that it signed item codes for, and the newest countersigned head.

    `batch` is 0 before the first item code; `head` is None before the first countersignature.
    """

    batch: int
    head: SignedHead | None

    @property
    def audit_id(self) -> int:
        """The id of the newest countersigned audit entry; 0 before the first."""
        return 0 if self.head is None else self.head.id

    @property
    def audit_hash(self) -> bytes:
        """The hash of that entry, 32 bytes; empty before the first."""
        return b"" if self.head is None else self.head.hash

    @property
    def audit_at(self) -> int:
        """When the signer countersigned it, seconds since 1970; 0 before the first."""
        return 0 if self.head is None else self.head.at


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """A signing key: whether the same code always gets the same signature, and until when it may sign."""

    repeats: bool
    until: datetime


class SigningService(Protocol):
    """Signs codes and audit heads. Every method raises SignerUnavailable (try again later) or SignerError (the request was refused)."""

    def active_key(self) -> str:
        """The id of the key for a new batch."""
        ...

    def describe(self, key_id: str) -> KeyDescription:
        """What a key that may sign is like."""
        ...

    def sign_product(self, key_id: str, gtin: str) -> bytes:
        """The signature of a product code, 64 bytes raw r‖s."""
        ...

    def sign_lot(self, key_id: str, gtin: str, lot: str) -> bytes:
        """The signature of a lot code, 64 bytes raw r‖s."""
        ...

    def sign_items(self, key_id: str, gtin: str, batch: int, slots: Slots) -> bytes:
        """The signatures of item codes, 64 bytes each in the order of `slots` (at most 65 536)."""
        ...

    def countersign(self, entry: int, hash_: bytes) -> SignedHead:
        """The countersigned head of the audit chain: the id of its newest entry and the entry's hash (32 bytes).

        The signer refuses an id below the newest one that it has countersigned, and the same id with another hash.
        """
        ...

    def high_water(self) -> SignerHighWater:
        """How far the signer has come, from its own log. Costs one short round trip."""
        ...

    def read_log(self, *, after: Iterable[bytes] = ()) -> LogReading:
        """The lines of the newest file of its log, up to the end that it has now: what was signed and countersigned since.

        `after` has what is to be read before: files of the log that were rotated away (`keys.log.reader.chunks_of`).
        One page is read now, the others while the result is iterated, which raises SignerError if the log is rotated meanwhile.
        Memory is bounded; the time is not: about 100 000 lines (40 MB) a second. Not for a path that has to be quick.
        """
        ...


def _packed(slots: Slots) -> bytes:
    return slots if isinstance(slots, bytes) else np.ascontiguousarray(slots, "<u8").tobytes()


class SignerClient:
    """A client of the signer on a unix socket. Any number of threads may share it.

    `timeout` is the time for one request in seconds, including the wait for a free process of the signer. A failed request
    has changed nothing, so a request may be repeated; the signatures are the same if the key repeats them.
    """

    def __init__(self, socket_path: Path, timeout: float = 30.0) -> None:
        self._path = str(socket_path)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: there is no connection between requests. A client is closed like any other resource."""

    def active_key(self) -> str:
        """The id of the key for a new batch. Raises as `SigningService` says."""
        return self._ask(ActiveKey()).key_id

    def describe(self, key_id: str) -> KeyDescription:
        """What a key that may sign is like. Raises as `SigningService` says."""
        reply = self._ask(DescribeKey(key_id))
        return KeyDescription(reply.repeats, datetime.fromtimestamp(reply.until, UTC))

    def sign_product(self, key_id: str, gtin: str) -> bytes:
        """The signature of a product code. Raises as `SigningService` says."""
        return self._signed(SignProductCode(key_id, gtin), 1)

    def sign_lot(self, key_id: str, gtin: str, lot: str) -> bytes:
        """The signature of a lot code. Raises as `SigningService` says."""
        return self._signed(SignLotCode(key_id, gtin, lot), 1)

    def sign_items(self, key_id: str, gtin: str, batch: int, slots: Slots) -> bytes:
        """The signatures of up to 65 536 item codes: a uint64 array, or its bytes little-endian."""
        packed = _packed(slots)
        return self._signed(Items(key_id, gtin, batch, packed), len(packed) // 8)

    def countersign(self, entry: int, hash_: bytes) -> SignedHead:
        """The countersigned head of the audit chain. Raises as `SigningService` says."""
        head = self._ask(Countersign(entry, hash_)).head
        if head is None or (head.id, head.hash) != (entry, hash_):
            raise self._unavailable("unexpected answer")
        return head

    def high_water(self) -> SignerHighWater:
        """How far the signer has come. Raises as `SigningService` says."""
        reply = self._ask(HighWater())
        return SignerHighWater(reply.batch, reply.head)

    def read_log(self, *, after: Iterable[bytes] = ()) -> LogReading:
        """The lines of the newest file of the signer's log. Raises as `SigningService` says."""
        return LogReading(itertools.chain(after, self._pages(self._page(0, ""))))

    def _pages(self, page: LogPage) -> Iterator[bytes]:
        """The lines of a page and of all pages after it. The log may grow meanwhile: it is read up to the end of the first page."""
        end, offset = page.end, 0
        while page.lines:
            yield page.lines[: end - offset]
            offset += len(page.lines)
            if offset >= end:
                return
            page = self._page(offset, page.file)
        if offset < end:
            raise self._unavailable("unexpected answer")

    def _page(self, offset: int, file: str) -> LogPage:
        page = self._ask(ReadLog(offset, file)).page
        if page is None:
            raise self._unavailable("unexpected answer")
        return page

    def _signed(self, request: Request, count: int) -> bytes:
        signatures = self._ask(request).signatures
        if len(signatures) != count * _SIGNATURE:
            raise self._unavailable("unexpected answer")
        return signatures

    def _ask(self, request: Request) -> SignerReply:
        until = time.monotonic() + self._timeout
        try:
            with self._connected(until) as connection:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    send(connection, request)  # the signer may have refused before it read everything
                answer = _ANSWERS.decode(receive(connection, MAX_ANSWER, until - time.monotonic()))
        except (OSError, EOFError, ValueError, msgspec.MsgspecError) as error:
            raise self._unavailable(type(error).__name__) from error
        if answer.en:
            raise SignerError(Text(answer.zh, answer.en))
        return answer

    def _connected(self, until: float) -> socket.socket:
        if len(self._path.encode()) > MAX_SOCKET_PATH:
            raise OSError("socket path too long")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout)
            self._connect(connection, until)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, connection: socket.socket, until: float) -> None:
        while True:
            try:
                return connection.connect(self._path)
            except BlockingIOError:  # the queue of the socket is full: every process is busy
                if time.monotonic() > until:
                    raise
                time.sleep(_QUEUE_FULL_PAUSE)

    def _unavailable(self, why: str) -> SignerUnavailable:
        zh = f"签名服务没有应答（{self._path}，{why}）；请确认该服务正在运行，然后重试"
        en = f"the signer at {self._path} does not answer ({why}); check that it runs, then try again"
        return SignerUnavailable(Text(zh, en))
