"""The child process of `zpcode.services.pictures.decoder`: reads files from standard input and writes replies."""

from __future__ import annotations

import resource
import signal
import struct
import sys
from typing import BinaryIO, Final

import msgspec
from PIL import Image, ImageColor, ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin

from zpcode.errors import Refused
from zpcode.services.pictures.confinement import confine
from zpcode.services.pictures.decoder import DecoderReply, DecoderStart
from zpcode.services.pictures.encode import encode_picture

PROCESSOR_SECONDS: Final = 3.0
"""For one picture. The largest accepted picture takes 1.1 s, a JPEG with 100 scans 2 s (two cores of 2.5 GHz)."""
LOADED: Final = (ImageColor, ImagePalette, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""Pillow imports these when a file needs them, which is too late: TIFF is the format of EXIF, MPO of several JPEG in one."""
_LENGTH = struct.Struct(">Q")


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
        _send(replies, reply_to(files.read(_LENGTH.unpack(head)[0])))


def _send(replies: BinaryIO, message: DecoderStart | DecoderReply) -> None:
    body = msgspec.msgpack.encode(message)
    replies.write(_LENGTH.pack(len(body)))
    replies.write(body)
    replies.flush()


def main() -> None:
    """Confine the process, say how far that went, and serve."""
    Image.preinit()  # the modules for JPEG and PNG, which Pillow would import at the first file
    _send(sys.stdout.buffer, DecoderStart(confine()))
    serve(sys.stdin.buffer, sys.stdout.buffer)
