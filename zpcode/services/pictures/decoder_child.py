"""The child of `services.pictures.darkroom`: takes files from its standard input, one after the other, and answers."""

from __future__ import annotations

import resource
import struct
import sys
from typing import BinaryIO, Final

import msgspec

from zpcode.errors import Refused
from zpcode.services.pictures.decoder import DecoderReply
from zpcode.services.pictures.encode import develop

MEMORY: Final = 2**30
"""Bytes of address space, about three times what the largest picture that is taken needs."""
PROCESSOR_SECONDS: Final = 20
_LENGTH = struct.Struct(">Q")


def confine() -> None:
    """Bound memory and open files, and give up writing files and core dumps, for good.

    Nothing else is given up: reading files and connecting stay what the user of the process may.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def _give_time() -> None:
    """So many seconds for the next picture; the limit counts from the process's beginning."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + PROCESSOR_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def answer(data: bytes) -> DecoderReply:
    """What is answered to one file."""
    try:
        developed = develop(data)
    except Refused as refused:
        (finding,) = refused.findings
        return DecoderReply(reason=finding.reason, zh=finding.text.zh, en=finding.text.en)
    return DecoderReply(developed.picture, developed.files)


def serve(files: BinaryIO, answers: BinaryIO) -> None:
    """Develop what comes until there is no more."""
    while len(head := files.read(_LENGTH.size)) == _LENGTH.size:
        _give_time()
        body = msgspec.msgpack.encode(answer(files.read(_LENGTH.unpack(head)[0])))
        answers.write(_LENGTH.pack(len(body)))
        answers.write(body)
        answers.flush()


if __name__ == "__main__":
    confine()
    serve(sys.stdin.buffer, sys.stdout.buffer)
