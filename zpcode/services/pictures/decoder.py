"""Decode and encode pictures in child processes with limits on memory, time and files.

The decoders are C libraries that read untrusted files. A file that crashes a decoder, or makes it allocate or compute
without end, must not stop the API. So a child process does the work, with 1 GiB of address space, 3 s of processor time
for each picture, a low priority, an empty environment and no permission to write files. A child that does not reply within
30 s is killed. Starting a child takes 0.2 s, so an import keeps its children for all its pictures.

Enterprises and the public have separate slots: photos of complaints hold up no picture of a product.

This protects against accidents and decompression bombs; it is not a sandbox. The child runs as the same user on the same
host: code that took it over could read everything that this user may read, such as `/proc/PPID/environ`, and open
connections. To prevent this, run the API as a separate user in a container or systemd unit with minimal permissions.

Parent and child use pipes. Request: the length (eight bytes) and the file. Reply: the length (eight bytes) and MessagePack.
"""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import LifoQueue
from threading import BoundedSemaphore
from types import TracebackType
from typing import Final, Self

import msgspec

from zpcode.errors import Finding, Refused, Text, Unavailable, refusal
from zpcode.services.pictures.encode import MAX_BYTES, EncodedPicture, too_large
from zpcode.wire.card import Picture

CHILDREN: Final = 2
"""The most pictures that are encoded at once with the same slots; each may use one processor and 1 GiB."""
SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 60.0
_LENGTH = struct.Struct(">Q")
_MAX_REPLY = 64 * 2**20
_slots = BoundedSemaphore(CHILDREN)
"""The slots of everybody who has a key: the pictures of the API, one at a time and in an import."""


class DecoderReply(msgspec.Struct, frozen=True, array_like=True):
    """The reply of a child: the picture with its files, or the reason of a refusal in two languages."""

    picture: Picture | None = None
    files: dict[str, bytes] = {}
    reason: str = ""
    zh: str = ""
    en: str = ""


def separate_slots() -> BoundedSemaphore:
    """Slots that no other decoder has."""
    return BoundedSemaphore(CHILDREN)


class PictureDecoder:
    """Encodes pictures, up to `CHILDREN` at once, from any thread. Its children end with its context.

    All decoders with the same `slots` encode up to `CHILDREN` pictures at once.
    """

    def __init__(self, *, seconds: float = SECONDS, slots: BoundedSemaphore = _slots) -> None:
        self._seconds, self._slots = seconds, slots
        self._closed = False
        self._idle: LifoQueue[_Child | None] = (
            LifoQueue()
        )  # last in, first out: running children are used before new ones
        for _ in range(CHILDREN):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._closed = True
        children = [self._idle.get() for _ in range(CHILDREN)]
        for child in children:
            if child is not None:
                child.end()
            self._idle.put(None)  # a thread that waits gets it and finds the decoder closed

    def encode(self, data: bytes) -> EncodedPicture:
        """As `encode.encode_picture`, in a child. Raises Refused; Unavailable if no child is free for 60 s, and after the end."""
        if len(data) > MAX_BYTES:
            raise too_large()
        child = self._idle.get()
        if self._closed:
            self._idle.put(None)
            raise busy()
        try:
            with self._slot():
                child = child or _Child(self._seconds)
                reply = child.encode(data)
        except _Gone:
            child, reply = None, None
        finally:
            self._idle.put(child)
        if reply is None:
            raise _gone()
        if reply.picture is None:
            text = Text(reply.zh, reply.en)
            raise Refused(text, (Finding(reply.reason, text),))
        return EncodedPicture(reply.picture, reply.files)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """Wait for permission to encode one picture; a large import takes turns with all other requests."""
        if not self._slots.acquire(timeout=_WAIT_SECONDS):
            raise busy()
        try:
            yield
        finally:
            self._slots.release()


class _Gone(Exception):
    """The child crashed, was killed, or did not reply in time."""


class _Child:
    """One child process."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "zpcode.services.pictures.decoder_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print parts of files, which must not be logged
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},  # without secrets
            bufsize=0,
        )

    def encode(self, data: bytes) -> DecoderReply:
        deadline = time.monotonic() + self._seconds
        try:
            self._send(_LENGTH.pack(len(data)) + data, deadline)
            (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
            return msgspec.msgpack.decode(self._receive(min(length, _MAX_REPLY), deadline), type=DecoderReply)
        except (_Gone, OSError, msgspec.DecodeError):
            self.end()
            raise _Gone from None

    def _send(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin is not None  # noqa: S101 - opened with a pipe
        pipe, rest = self._process.stdin.fileno(), memoryview(data)
        os.set_blocking(pipe, False)
        while rest:
            _wait([], [pipe], deadline)
            rest = rest[os.write(pipe, rest) :]

    def _receive(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - opened with a pipe
        pipe, received = self._process.stdout.fileno(), bytearray()
        while len(received) < count:
            _wait([pipe], [], deadline)
            piece = os.read(pipe, count - len(received))
            if not piece:
                raise _Gone
            received += piece
        return bytes(received)

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


def _wait(reading: list[int], writing: list[int], deadline: float) -> None:
    poll = select.poll()
    for pipe in reading:
        poll.register(pipe, select.POLLIN)
    for pipe in writing:
        poll.register(pipe, select.POLLOUT)
    if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
        raise _Gone


def busy() -> Unavailable:
    """The error when too many requests wait."""
    return Unavailable(Text("图片处理繁忙，请稍后再试", "too many pictures are being processed; try again shortly"))


def _gone() -> Refused:
    return refusal(
        "cannot_be_decoded",
        "图片无法在允许的时间和内存内解码，文件可能已损坏或系恶意构造；请另存为 JPEG 或 PNG 后再试",
        "the picture cannot be decoded within the allowed time and memory; it may be damaged or malicious; save it as "
        "JPEG or PNG and send that file",
    )
