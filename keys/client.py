"""The signer as the authority sees it: asks over the unix socket, holds no private key.

Chunks of some ten thousand items keep both sides busy; N threads asking at once are served by N
processes of the signer. A batch notes the key it began with and goes on asking for that one: a
rotation leaves that key `retiring`, which still finishes what it began.
"""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from keys.protocol import (
    MAX_ANSWER,
    MAX_ITEMS,
    MAX_SOCKET_PATH,
    ActiveKey,
    Items,
    Request,
    SignerReply,
    SignLotCode,
    SignProductCode,
    receive,
    send,
)
from zpcode.errors import SignerError, SignerUnavailable, Text

__all__ = ["MAX_ITEMS", "SignerClient", "SigningService"]

_QUEUE_FULL_PAUSE = 0.01
_SIGNATURE = 64
_ANSWERS = msgspec.msgpack.Decoder(SignerReply)

Slots = bytes | npt.NDArray[np.uint64]


class SigningService(Protocol):
    """Whoever signs codes. Every method raises SignerUnavailable (try later) or SignerError (it refused)."""

    def active_key(self) -> str:
        """The id of the key a new batch begins with."""
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


def _packed(slots: Slots) -> bytes:
    return slots if isinstance(slots, bytes) else np.ascontiguousarray(slots, "<u8").tobytes()


class SignerClient:
    """The signer behind a unix socket; any number of threads may share one.

    `timeout` bounds one request in seconds, waiting for a free process of the signer included. A
    request that failed has changed nothing, signatures are deterministic, so it may be repeated.
    """

    def __init__(self, socket_path: Path, timeout: float = 30.0) -> None:
        self._path = str(socket_path)
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held between requests; this is here so that the client reads like any other resource."""

    def active_key(self) -> str:
        """The id of the key a new batch begins with. Raises as `Signer` says."""
        return self._ask(ActiveKey()).key_id

    def sign_product(self, key_id: str, gtin: str) -> bytes:
        """The signature of a product code. Raises as `Signer` says."""
        return self._signed(SignProductCode(key_id, gtin), 1)

    def sign_lot(self, key_id: str, gtin: str, lot: str) -> bytes:
        """The signature of a lot code. Raises as `Signer` says."""
        return self._signed(SignLotCode(key_id, gtin, lot), 1)

    def sign_items(self, key_id: str, gtin: str, batch: int, slots: Slots) -> bytes:
        """The signatures of up to 65 536 item codes: a uint64 array, or its bytes little-endian."""
        packed = _packed(slots)
        return self._signed(Items(key_id, gtin, batch, packed), len(packed) // 8)

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
                    send(connection, request)  # a refusal may be waiting although not all was taken
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
            except BlockingIOError:  # the signer's queue is full: every process is busy and more wait
                if time.monotonic() > until:
                    raise
                time.sleep(_QUEUE_FULL_PAUSE)

    def _unavailable(self, why: str) -> SignerUnavailable:
        zh = f"签名服务没有应答（{self._path}，{why}）；请确认它在运行，然后重试"
        en = f"the signer at {self._path} does not answer ({why}); see that it runs, then try again"
        return SignerUnavailable(Text(zh, en))
