"""A decoder that a hostile picture has taken over: the child process runs other code in place of the decoders."""

from __future__ import annotations

import textwrap

import pytest

from tests.support.pictures import jpeg
from zpcode.errors import Refused
from zpcode.services.pictures import decoder
from zpcode.services.pictures.decoder import PictureDecoder


def take_over(monkeypatch: pytest.MonkeyPatch, deed: str, *, before: str = "", encode: str = "taken_over") -> None:
    """Let every new child run `deed` for each picture, with all modules that an attacker could need loaded.

    `deed` are statements; what they `return` is the words of a refusal. `before` runs before the child is confined;
    `encode` names another function that it defines, to run in place of the decoders.
    """
    code = (
        "import sys; sys.path[:] = sys.argv[1:]\n"
        "import ctypes, encodings.idna, os, resource, socket, subprocess, threading, time\n"
        "from zpcode.errors import refusal\n"
        "from zpcode.services.pictures import confinement, decoder_child\n"
        f"{before}\n"
        f"def deed(data):\n{textwrap.indent(textwrap.dedent(deed) or 'pass', '    ')}\n"
        "def taken_over(data):\n    raise refusal('taken_over', str(deed(data)), '')\n"
        f"decoder_child.encode_picture = {encode}\n"
        "decoder_child.main()\n"
    )
    monkeypatch.setattr(decoder, "START", code)


def outcome_of(picture_decoder: PictureDecoder) -> str:
    """What the child that was taken over did with a picture."""
    with pytest.raises(Refused) as refused:
        picture_decoder.encode(jpeg())
    return refused.value.findings[0].text.zh
