"""The child process of `zpcode.services.pictures.decoder`: reads files from standard input and writes replies."""

from __future__ import annotations

import os
import resource
import signal
import struct
import sys
from typing import BinaryIO, Final

import msgspec

from zpcode.errors import Refused
from zpcode.services.pictures.decoder import DecoderReply
from zpcode.services.pictures.encode import encode_picture

MEMORY: Final = 2**30
"""Bytes of address space: about three times the need of the largest accepted picture."""
PROCESSOR_SECONDS: Final = 3.0
"""For one picture. The largest accepted picture takes 1.1 s, a JPEG with 100 scans 2 s (two cores of 2.5 GHz)."""
NICENESS: Final = 10
"""Requests go first: a decoder gets the processor time that is left."""
_LENGTH = struct.Struct(">Q")


def confine() -> None:
    """Limit memory, priority and open files, and forbid writing files and core dumps, for the rest of the process.

    Reading files and opening connections are not limited.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.nice(NICENESS)


def _give_time() -> None:
    """Allow so much processor time for the next picture: when it is used up, SIGPROF ends the process.

    RLIMIT_CPU counts whole seconds since the start of the process; it is the second bound, should the signal be lost.
    """
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime + PROCESSOR_SECONDS) + 1
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
