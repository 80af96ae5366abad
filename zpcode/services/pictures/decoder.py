"""Where pictures are developed: a process of its own, bounded in memory, time and files.

The decoders are C that reads bytes from anywhere. A file that crashes one, or makes it allocate or compute without
end, must not take the API, with its keys and everybody else's requests, along. So the work is done by a child with
1 GiB of address space, 20 s of processor time a picture, no environment and no way to write a file; what does not
answer within 30 s is killed. Starting one costs 0.2 s, so an import keeps its children for all its pictures.

That bounds accidents and decoding bombs; it is no sandbox. The child is the same user on the same host: code that took
it over could still read what that user may, `/proc/PPID/environ` among it, and open connections. To keep it from that,
run the API as a user of its own in a container or systemd unit that reaches no more than it needs.

The two speak over pipes: eight bytes of length and the file in, eight bytes of length and MessagePack out.
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
"""Pictures this process develops at a time, whoever asks: each may take a processor and 1 GiB."""
SECONDS: Final = 30.0
_WAIT_SECONDS: Final = 60.0
_LENGTH = struct.Struct(">Q")
_MAX_ANSWER = 64 * 2**20
_seats = BoundedSemaphore(CHILDREN)


class DecoderReply(msgspec.Struct, frozen=True, array_like=True):
    """What a child answers: the picture with its files, or the reason it refuses in two languages."""

    picture: Picture | None = None
    files: dict[str, bytes] = {}
    reason: str = ""
    zh: str = ""
    en: str = ""


class PictureDecoder:
    """Develops pictures, up to `CHILDREN` at a time, from any thread. Its children end with it."""

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._idle: LifoQueue[_Child | None] = LifoQueue()  # the child that worked last is there before a new one
        for _ in range(CHILDREN):
            self._idle.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        for _child in range(CHILDREN):
            child = self._idle.get()
            if child is not None:
                child.end()

    def develop(self, data: bytes) -> EncodedPicture:
        """As `services.pictures.develop.develop`. Raises Refused, or Unavailable where all seats are taken for long."""
        if len(data) > MAX_BYTES:
            raise too_large()
        child = self._idle.get()
        try:
            with _seat():
                child = child or _Child(self._seconds)
                report = child.develop(data)
        except _Gone:
            child, report = None, None
        finally:
            self._idle.put(child)
        if report is None:
            raise _gone()
        if report.picture is None:
            text = Text(report.zh, report.en)
            raise Refused(text, (Finding(report.reason, text),))
        return EncodedPicture(report.picture, report.files)


@contextmanager
def _seat() -> Iterator[None]:
    """A turn to develop one picture: an import of thousands takes turns with everybody else."""
    if not _seats.acquire(timeout=_WAIT_SECONDS):
        raise busy()
    try:
        yield
    finally:
        _seats.release()


class _Gone(Exception):
    """The child crashed, was killed, or did not answer in time."""


class _Child:
    """One process, idle until it is given a file."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-m", "zpcode.services.pictures.decoder_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what a decoder prints of a file is nobody's to read
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},  # and no secret
            bufsize=0,
        )

    def develop(self, data: bytes) -> DecoderReply:
        deadline = time.monotonic() + self._seconds
        try:
            self._send(_LENGTH.pack(len(data)) + data, deadline)
            (length,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline))
            return msgspec.msgpack.decode(self._receive(min(length, _MAX_ANSWER), deadline), type=DecoderReply)
        except (_Gone, OSError, msgspec.DecodeError):
            self.end()
            raise _Gone from None

    def _send(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        pipe, rest = self._process.stdin.fileno(), memoryview(data)
        os.set_blocking(pipe, False)
        while rest:
            _wait([], [pipe], deadline)
            rest = rest[os.write(pipe, rest) :]

    def _receive(self, count: int, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        pipe, found = self._process.stdout.fileno(), bytearray()
        while len(found) < count:
            _wait([pipe], [], deadline)
            piece = os.read(pipe, count - len(found))
            if not piece:
                raise _Gone
            found += piece
        return bytes(found)

    def end(self) -> None:
        """Kill it."""
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
    """What is said where too many wait for their turn."""
    return Unavailable(Text("图片处理繁忙，请稍后再试", "too many pictures are being developed; try again shortly"))


def _gone() -> Refused:
    return refusal(
        "cannot_be_decoded",
        "图片无法在允许的时间和内存内解码，文件可能已损坏或有意构造；请另存为 JPEG 或 PNG 后再试",
        "the picture cannot be decoded within the time and memory allowed: damaged, or made to do harm; save it as "
        "JPEG or PNG and send that",
    )
