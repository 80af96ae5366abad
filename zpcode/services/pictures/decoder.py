"""Decode and encode pictures in child processes that can do nothing else.

The decoders are C libraries that read untrusted files. A file that crashes a decoder, or makes it allocate or compute
without end, must not stop the API, and a file that takes a decoder over must gain nothing. So a child process does the
work, with 1 GiB of address space, 3 s of processor time for each picture and a low priority. It is a new program, not a
copy of this process, and starts without environment, arguments or descriptors that tell a secret. Before it reads the first
byte of a picture it gives up files, network and further processes (`zpcode.services.pictures.confinement`). A child that
does not reply within 30 s is killed. Starting a child takes 0.1 s, so an import keeps its children for all its pictures.

What a child replies is checked like any input: a child that was taken over chooses neither the name of a file nor its kind.

Enterprises and the public have separate slots: photos of complaints hold up no picture of a product.

Parent and child use pipes. A message is its length (eight bytes) and its bytes: each request is a file, each reply MessagePack.
The child's first message says which barriers its system lacks.
"""

from __future__ import annotations

import logging
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from queue import LifoQueue
from threading import BoundedSemaphore
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec

import zpcode
from zpcode.errors import Finding, Refused, Text, Unavailable, refusal
from zpcode.services.pictures.confinement import hide_memory
from zpcode.services.pictures.encode import MAX_BYTES, EncodedPicture, is_whole, too_large
from zpcode.wire.card import Picture

CHILDREN: Final = 2
"""The most pictures that are encoded at once with the same slots; each may use one processor and 1 GiB."""
SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 60.0
_LENGTH = struct.Struct(">Q")
_MAX_REPLY = 64 * 2**20
START: Final = """\
import sys
sys.path[:] = sys.argv[1:]
from zpcode.services.pictures import decoder_child
decoder_child.main()
"""
"""The child's program. Its arguments are the folders of its modules: no setting of the environment, no `.pth` file counts."""
_logger = logging.getLogger(__name__)
_slots = BoundedSemaphore(CHILDREN)
"""The slots of everybody who has a key: the pictures of the API, one at a time and in an import."""


class DecoderStart(msgspec.Struct, frozen=True, array_like=True):
    """A child is ready. `lacking` names the barriers that its system does not have (`confinement.confine`)."""

    lacking: tuple[str, ...]


class DecoderReply(msgspec.Struct, frozen=True, array_like=True):
    """The reply of a child: the picture with its files, or the reason of a refusal in two languages."""

    picture: Picture | None = None
    files: dict[str, bytes] = {}
    reason: Annotated[str, msgspec.Meta(max_length=40)] = ""
    zh: Annotated[str, msgspec.Meta(max_length=400)] = ""
    en: Annotated[str, msgspec.Meta(max_length=400)] = ""


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
        encoded = EncodedPicture(reply.picture, reply.files)
        if not is_whole(encoded):
            raise _gone()
        return encoded

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
        hide_memory()  # should the barriers be lacking: the child runs as the same user
        self._process = subprocess.Popen(  # noqa: S603 - the own program, no shell
            [sys.executable, "-I", "-S", "-c", START, *_module_folders()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print parts of files, which must not be logged
            env={},
            cwd="/",
            bufsize=0,
        )
        self._started = False

    def encode(self, data: bytes) -> DecoderReply:
        deadline = time.monotonic() + self._seconds
        try:
            if not self._started:
                _report(msgspec.msgpack.decode(self._message(deadline), type=DecoderStart))
                self._started = True
            self._send(_LENGTH.pack(len(data)) + data, deadline)
            return msgspec.msgpack.decode(self._message(deadline), type=DecoderReply)
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

    def _message(self, deadline: float) -> bytes:
        (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
        return self._receive(min(length, _MAX_REPLY), deadline)

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


def _module_folders() -> list[str]:
    """Where this process finds its modules: first this package, which an editable installation finds in another way."""
    package = Path(zpcode.__file__).parents[1]
    return list(dict.fromkeys([str(package), *(str(Path(path).absolute()) for path in sys.path if path)]))


@cache
def _report(start: DecoderStart) -> None:
    """Warn once of what the system lacks."""
    if start.lacking:
        _logger.warning(
            "picture decoders run without %s; use Linux 5.13 or later, or a container that allows it", start.lacking
        )


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
