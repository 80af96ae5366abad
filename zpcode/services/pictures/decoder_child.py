"""The child process of `zpcode.services.pictures.decoder`: reads files from standard input and writes replies."""

from __future__ import annotations

import resource
import struct
import sys
from typing import BinaryIO, Final

import msgspec

from zpcode.errors import Refused
from zpcode.services.pictures.decoder import DecoderReply
from zpcode.services.pictures.encode import encode_picture

MEMORY: Final = 2**30
"""Bytes of address space: about three times the need of the largest accepted picture."""
PROCESSOR_SECONDS: Final = 20
_LENGTH = struct.Struct(">Q")


def confine() -> None:
    """Limit memory and open files, and forbid writing files and core dumps, for the rest of the process.

    Reading files and opening connections are not limited.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _give_time() -> None:
    """Allow 20 s of processor time for the next picture; the system counts from the start of the process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + PROCESSOR_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def reply_to(data: bytes) -> DecoderReply:
    """The reply to one file."""
    try:
        encoded = encode_picture(data)
    except Refused as refused:
        (finding,) = refused.findings
        return DecoderReply(reason=finding.reason, zh=finding.text.zh, en=finding.text.en)
    return DecoderReply(encoded.picture, encoded.files)


def serve(files: BinaryIO, replies: BinaryIO) -> None:
    """Reply to each file until the input ends."""
    while len(head := files.read(_LENGTH.size)) == _LENGTH.size:
        _give_time()
        body = msgspec.msgpack.encode(reply_to(files.read(_LENGTH.unpack(head)[0])))
        replies.write(_LENGTH.pack(len(body)))
        replies.write(body)
        replies.flush()


if __name__ == "__main__":
    confine()
    serve(sys.stdin.buffer, sys.stdout.buffer)
