"""A picture that takes the decoder over gains nothing: the child process has no secret, opens nothing and reaches nobody."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from string import Template

import pytest
from PIL import Image, ImageCms

from tests.support.decoder_deeds import outcome_of, take_over
from tests.support.pictures import drawn, encoded, jpeg
from zpcode.errors import Refused
from zpcode.services.pictures import confinement, decoder
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.services.pictures.encode import EncodedPicture, encode_picture

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the barriers are Linux's")

FILES = {
    "reads the environment of its parent": "return open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "reads the memory of its parent": "return open(f'/proc/{os.getppid()}/mem', 'rb').fileno()",
    "reads a file": "return open('$secret').read()",
    "lists a folder": "return os.listdir('$folder')",
    "opens a file to write": "return open('$folder/new', 'w').fileno()",
}
FOLDERS = {
    "makes a folder": "return os.mkdir('$folder/new')",
    "removes a file": "return os.unlink('$secret')",
    "becomes a program": "return os.execv('/bin/true', ['true'])",
    "ends its parent": "return os.kill(os.getppid(), 0)",
}
SOCKETS = {
    "connects to a unix socket": "one = socket.socket(socket.AF_UNIX)\none.connect('$unix')\nreturn one",
    "sends a datagram": "return socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', $port))",
    "makes a pipe": "return os.pipe()",
}
TCP = {
    "connects to a port": "return socket.create_connection(('127.0.0.1', $port))",
    "listens": "return socket.create_server(('127.0.0.1', 0))",
}
LIMITS = {
    "raises its limit of open files": "return resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)) or 'raised'",
    "raises its limit of memory": "return resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40)) or 'raised'",
}
PROCESSES = {
    "starts a program": "return subprocess.run(['/bin/true'])",
    "forks": "return os.fork() or os._exit(0)",
    "starts a thread": "return threading.Thread(target=int).start()",
    "sets a limit of its parent": "both = os.getppid(), resource.RLIMIT_NOFILE\nreturn resource.prlimit(*both, resource.prlimit(*both))",
    "sleeps": "return time.sleep(0)",
}
TRACING = {
    # PTRACE_SEIZE, which does not stop the parent
    "attaches to its parent": """
        if ctypes.CDLL(None, use_errno=True).ptrace(0x4206, os.getppid(), 0, 0):
            raise OSError(ctypes.get_errno(), 'ptrace')
        return 'attached'
    """,
}
DEEDS = FILES | FOLDERS | SOCKETS | TCP | LIMITS | PROCESSES | TRACING
CONTROL = DEEDS if os.geteuid() == 0 else FOLDERS | SOCKETS | TCP | {"reads a file": FILES["reads a file"]}
"""What succeeds without a barrier. Root may also raise limits, and read the memory of a process that hides it."""
LIMITS_ALONE = "decoder_child.confine = lambda: (confinement.give_up_privileges(), confinement.limit(), ())[-1]"
LANDLOCK_ALONE = (
    "decoder_child.confine = lambda: (confinement.give_up_privileges(), confinement.forbid_files(), ())[-1]"
)
SECCOMP_ALONE = "decoder_child.confine = lambda: (confinement.give_up_privileges(), confinement.forbid_calls(), ())[-1]"
BARRIERS = {
    "all": ("", DEEDS),
    "limits": (LIMITS_ALONE, FILES | SOCKETS | TCP | LIMITS | TRACING),
    "Landlock": (LANDLOCK_ALONE, FILES | FOLDERS | TCP | TRACING),
    "seccomp": (SECCOMP_ALONE, DEEDS),
}
ATTEMPTS = [(barrier, name) for barrier, (_, deeds) in BARRIERS.items() for name in deeds]


@pytest.fixture
def surroundings(tmp_path: Path) -> Iterator[dict[str, object]]:
    """What any program of the same user can reach: a file, a folder, a port and a unix socket."""
    secret, path = tmp_path / "secret", tmp_path / "socket"
    secret.write_text("file key")
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
        unix.listen()
        yield {"secret": secret, "folder": tmp_path, "unix": path, "port": port.getsockname()[1]}


def _outcome(deed: str, surroundings: Mapping[str, object], monkeypatch: pytest.MonkeyPatch, before: str = "") -> str:
    """What a decoder that was taken over gets: the kernel's refusal as Python raises it, or its result."""
    steps = textwrap.indent(textwrap.dedent(Template(DEEDS[deed]).substitute(surroundings)).strip(), "    ")
    refused = "except (OSError, RuntimeError, ValueError) as error:\n    return 'refused: ' + repr(error)"
    take_over(monkeypatch, f"try:\n{steps}\n{refused}", before=before)
    with PictureDecoder() as picture_decoder:
        return outcome_of(picture_decoder)


@LINUX
@pytest.mark.parametrize(("barrier", "deed"), ATTEMPTS)
def test_a_decoder_that_was_taken_over_cannot(
    barrier: str, deed: str, surroundings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with all barriers nor with one alone."""
    assert _outcome(deed, surroundings, monkeypatch, BARRIERS[barrier][0]).startswith("refused: ")


@LINUX
@pytest.mark.parametrize("deed", CONTROL)
def test_without_barriers_it_could(deed: str, surroundings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = _outcome(deed, surroundings, monkeypatch, "decoder_child.confine = lambda: ()")
    assert not outcome.startswith("refused: ")


@LINUX
def test_a_child_starts_without_environment_arguments_or_descriptors_that_tell_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZPCODE_FILE_KEY", "secret")
    with tempfile.TemporaryFile() as file, PictureDecoder() as picture_decoder:
        os.set_inheritable(file.fileno(), True)
        picture_decoder.encode(jpeg())
        child = picture_decoder._idle.get()
        picture_decoder._idle.put(child)
        assert child is not None
        process = Path("/proc") / str(child._process.pid)
        assert (process / "environ").read_bytes() == b""
        assert sorted(path.name for path in (process / "fd").iterdir()) == ["0", "1", "2"]
        assert (process / "fd" / "2").readlink() == Path(os.devnull)
        words = (process / "cmdline").read_text().split("\0")
    assert all(Path(word).is_absolute() for word in words[5:] if word)


@LINUX
def test_another_process_of_the_user_cannot_read_a_process_that_hides_its_memory() -> None:
    """Tried as a user without privileges: root may read everything."""
    code = (
        "import ctypes, os, subprocess\n"
        "from zpcode.services.pictures.confinement import hide_memory\n"
        "def read():\n"
        "    return subprocess.run(['head', '-c1', f'/proc/{os.getpid()}/environ'], stderr=subprocess.DEVNULL).returncode\n"
        "if os.geteuid() == 0:\n"
        "    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)\n"
        "    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as it is after a start by this user\n"
        "before = read()\n"
        "hide_memory()\n"
        "assert (before, read()) == (0, 1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd="/", stdout=subprocess.DEVNULL)


def test_what_the_system_lacks_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoder._report.cache_clear()
    take_over(monkeypatch, "return 1", before="decoder_child.confine = lambda: ('Landlock', 'seccomp')")
    with caplog.at_level(logging.WARNING, logger=decoder.__name__):
        for _ in range(2):
            with PictureDecoder() as picture_decoder:
                outcome_of(picture_decoder)
    decoder._report.cache_clear()
    assert [record.getMessage() for record in caplog.records if "Landlock" in record.getMessage()] != []
    assert len(caplog.records) == 1


@LINUX
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_machine_that_is_not_this_one_gets_no_filter_by_mistake(machine: str) -> None:
    """The filter starts with the kernel's number of its architecture; the numbers of calls differ from one to the other."""
    architecture, calls = confinement._CALLS[machine]
    first, second, *_ = confinement._filter(architecture, calls)
    assert struct.unpack("=HBBI", first) == (0x20, 0, 0, 4)
    assert struct.unpack("=HBBI", second) == (0x15, 1, 0, architecture)
    assert {name for _, calls in confinement._CALLS.values() for name in calls} == set(calls)
    assert len(set(calls.values())) == len(calls)


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _mpo() -> bytes:
    target = BytesIO()
    drawn().save(target, "MPO", save_all=True, append_images=[drawn(seed=2)])
    return target.getvalue()


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


PICTURES = {
    "JPEG": jpeg(1300, 900),
    "grey JPEG": encoded(drawn(mode="L")),
    "CMYK JPEG": encoded(drawn(mode="CMYK")),
    "JPEG turned by its EXIF": encoded(drawn(), exif=_exif(6)),
    "JPEG with a profile": encoded(drawn(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()),
    "JPEG with a profile of another model": encoded(drawn(), icc_profile=_profile()),
    "JPEG of several pictures": _mpo(),
    "PNG with transparency": encoded(drawn(mode="RGBA"), "PNG"),
    "PNG with a palette": encoded(drawn().quantize(16), "PNG", transparency=3),
    "PNG of 16 bits": encoded(drawn(mode="L").convert("I;16"), "PNG"),
    "PNG of two colours": encoded(drawn(mode="1"), "PNG"),
    "PNG with EXIF": encoded(drawn(), "PNG", exif=_exif(3)),
    "animated PNG": encoded(drawn(), "PNG", save_all=True, append_images=[drawn(seed=2)]),
    "WebP": encoded(drawn(), "WEBP", exif=_exif(8)),
    "WebP without loss, with transparency": encoded(drawn(mode="RGBA"), "WEBP", lossless=True),
    "animated WebP": encoded(drawn(), "WEBP", save_all=True, append_images=[drawn(seed=2)]),
    "cut JPEG": jpeg()[:5000],
    "cut WebP": encoded(drawn(), "WEBP")[:2000],
}  # fmt: skip


@pytest.fixture(scope="module")
def picture_decoder() -> Iterator[PictureDecoder]:
    with PictureDecoder() as running:
        yield running


@pytest.mark.parametrize("name", PICTURES)
def test_a_confined_decoder_makes_of_a_picture_what_a_free_one_makes(
    picture_decoder: PictureDecoder, name: str
) -> None:
    """Each kind of picture makes Pillow use other modules: one that is loaded too late would be missing."""

    def made(encode: Callable[[bytes], EncodedPicture]) -> EncodedPicture | tuple[str, ...]:
        try:
            return encode(PICTURES[name])
        except Refused as refused:
            return refused.reasons

    assert made(picture_decoder.encode) == made(encode_picture)


REPLIES = {
    "names a file elsewhere": "dict(files, **{'../../secrets/file-key': b'x'})",
    "names a file of another picture": "{name.replace(digest, '0' * 32): data for name, data in files.items()}",
    "replaces a file by a page": "{name: b'<script>alert(1)</script>' for name in files}",
    "replaces a WebP by a JPEG": "{name: files[name.replace('webp', 'jpg')] for name in files}",
    "replaces the largest WebP": "{name: data + bytes(2) if name.endswith('webp') else data for name, data in files.items()}",
    "leaves a file out": "dict(list(files.items())[1:])",
    "sends nothing": "{}",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_that_is_not_a_picture_s_files_is_refused(reply: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a decoder that was taken over would write any file, and replace the pictures of other products."""
    changed = f"""
        from zpcode.services.pictures.encode import EncodedPicture, encode_picture
        def changed(data):
            made = encode_picture(data)
            files, digest = made.files, made.picture.digest
            return EncodedPicture(made.picture, {REPLIES[reply]})
        """
    take_over(monkeypatch, "", before=textwrap.dedent(changed), encode="changed")
    with PictureDecoder() as running, pytest.raises(Refused) as refused:
        running.encode(jpeg())
    assert refused.value.reasons == ("cannot_be_decoded",)
