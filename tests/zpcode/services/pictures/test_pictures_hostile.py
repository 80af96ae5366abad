"""Hostile files and files that are no pictures: each is refused with its reason, without side effects."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.decoder_deeds import take_over
from tests.support.pictures import drawn, encoded, jpeg, progressive, with_scans
from zpcode.errors import Refused, Unavailable
from zpcode.services.pictures import decoder
from zpcode.services.pictures.decoder import PictureDecoder, separate_slots
from zpcode.services.pictures.encode import MAX_BYTES, MAX_SIDE, encode_picture


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, body: bytes = b"", *, more: bytes = b"") -> bytes:
    """A PNG that says it has this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = _chunk(b"IHDR", head), more, _chunk(b"IDAT", zlib.compress(body, 9)), _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _webp(width: int, height: int, *, animated: bool = False, frames: int = 0) -> bytes:
    """An extended WebP that says it has this canvas."""
    flags = bytes([2 if animated else 0, 0, 0, 0])
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + flags + canvas
    if animated:
        body += b"ANIM" + struct.pack("<I", 6) + bytes(6) + (b"ANMF" + struct.pack("<I", 16) + bytes(16)) * frames
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _jpeg_of(width: int, height: int) -> bytes:
    """A valid JPEG whose frame header has a wrong size."""
    data = jpeg(64, 64)
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


PROGRESSIVE = encoded(drawn(), progressive=True)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
FILES = {
    "empty": (b"", "not_a_picture"),
    "text": (b"hello", "not_a_picture"),
    "svg": (SVG, "not_a_picture"),
    "svg behind a byte order mark": (b"\xef\xbb\xbf\n " + SVG, "not_a_picture"),
    "html": (b"<!doctype html><img src=x onerror=alert(1)>", "not_a_picture"),
    "html before a jpeg": (b"<script>alert(1)</script>" + jpeg(), "not_a_picture"),
    "gif": (encoded(drawn(), "GIF"), "not_a_picture"),
    "gif and script": (b"GIF89a/*" + bytes(40) + b"*/=1;alert(1)", "not_a_picture"),
    "bmp": (encoded(drawn(), "BMP"), "not_a_picture"),
    "tiff": (encoded(drawn(), "TIFF"), "not_a_picture"),
    "pdf": (b"%PDF-1.7\n", "not_a_picture"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "not_a_picture"),
    "zip": (b"PK\x03\x04" + bytes(40), "not_a_picture"),
    "jpeg cut in its header": (jpeg()[:40], "broken"),
    "jpeg cut in its middle": (jpeg(1200, 900)[:9000], "broken"),
    "jpeg that is only a marker": (b"\xff\xd8\xff", "broken"),
    "jpeg of filling bytes": (b"\xff\xd8" + b"\xff" * 5000, "broken"),
    "jpeg of endless segments": (b"\xff\xd8" + b"\xff\xe1\x00\x02" * 20_000, "broken"),
    "png cut": (encoded(drawn(), "PNG")[:-900], "broken"),
    "png without pixels": (_png(400, 300), "broken"),
    "png of wrong sums": (encoded(drawn(), "PNG").replace(b"IDAT", b"IDAQ", 1), "broken"),
    "webp cut": (encoded(drawn(800, 600), "WEBP")[:3000], "broken"),
    "webp of a header": (_webp(400, 300), "broken"),
    "webp of four bytes": (b"RIFF\0\0\0\0WEBPVP8L", "broken"),
    "webp of another chunk": (b"RIFF\x20\0\0\0WEBPJUNK" + bytes(32), "broken"),
    "png bomb": (_png(60_000, 60_000, bytes(10**6)), "too_many_pixels"),
    "png bomb of a long side": (_png(MAX_SIDE + 1, 40, bytes(1000)), "too_many_pixels"),
    "jpeg bomb": (_jpeg_of(65_000, 65_000), "too_many_pixels"),
    "webp bomb": (_webp(16_000, 16_000), "too_many_pixels"),
    "animated giant": (_webp(16_384, 16_384, animated=True), "too_many_pixels"),
    "webp canvas beyond all": (_webp(2**24, 2**24, animated=True), "too_many_pixels"),
    "text bomb in a png": (
        _png(400, 300, bytes(1201 * 300), more=_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(90 * 2**20), 9))),
        "broken",
    ),
    "profile bomb in a png": (
        _png(400, 300, bytes(1201 * 300), more=_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(90 * 2**20), 9))),
        "broken",
    ),
    "no wider than a hair": (encoded(drawn(31, 300)), "too_small"),
    "one pixel": (encoded(drawn(1, 1).resize((1, 1)), "PNG"), "too_small"),
    "a strip": (encoded(drawn(40, 401)), "too_long_a_strip"),
    "jpeg of 101 scans": (progressive(scans=101), "too_many_scans"),
    "jpeg of 2000 scans": (progressive(6300, 6300, scans=2000), "too_many_scans"),
    "jpeg of scans behind other bytes": (with_scans(PROGRESSIVE, 2000, between=b"\0junk\xff\0\xff\xd3"), "too_many_scans"),
    "jpeg of scans behind fill bytes": (with_scans(PROGRESSIVE, 2000, between=b"\xff\xff"), "too_many_scans"),
    "jpeg of comments behind its scans": (with_scans(PROGRESSIVE, 50, between=b"\xff\xfe\0\x02" * 50), "too_many_parts"),
    "png of empty data chunks": (_png(400, 300, more=_chunk(b"IDAT", b"") * 20_000), "too_many_parts"),
    "png of texts": (_png(400, 300, more=_chunk(b"tEXt", b"k\0v") * 2000), "too_many_parts"),
    "png of frames": (_png(400, 300, more=_chunk(b"fcTL", bytes(26)) * 2000), "too_many_parts"),
    "webp of frames": (_webp(400, 300, animated=True, frames=2000), "too_many_parts"),
    "a byte too large": (jpeg().ljust(MAX_BYTES + 1, b"\0"), "too_large"),
}  # fmt: skip


@pytest.fixture(scope="module")
def picture_decoder() -> Iterator[PictureDecoder]:
    """A decoder for the whole module: one bad file must not affect the next."""
    with PictureDecoder() as running:
        yield running


@pytest.mark.parametrize("name", FILES)
def test_it_is_refused_with_its_reason(picture_decoder: PictureDecoder, name: str) -> None:
    data, reason = FILES[name]
    with pytest.raises(Refused) as refused:
        picture_decoder.encode(data)
    assert refused.value.reasons == (reason,)
    (finding,) = refused.value.findings
    assert finding.text.zh
    assert finding.text.en


def test_after_all_of_them_a_valid_picture_is_encoded(picture_decoder: PictureDecoder) -> None:
    for data, _ in FILES.values():
        with pytest.raises(Refused):
            picture_decoder.encode(data)
    assert picture_decoder.encode(jpeg()) == encode_picture(jpeg())


def test_the_form_goes_by_the_content_and_what_is_refused_is_named() -> None:
    with pytest.raises(Refused) as refused:
        encode_picture(FILES["heic"][0])
    assert "HEIC" in refused.value.findings[0].text.zh
    with pytest.raises(Refused) as refused:
        encode_picture(SVG)
    assert "SVG" in refused.value.findings[0].text.en


def _outcome(picture_decoder: PictureDecoder, data: bytes) -> str:
    """The reason a file is refused with, or `a picture` of 160 pixels."""
    try:
        made = picture_decoder.encode(data)
    except Refused as refused:
        return refused.reasons[0]
    return "a picture" if made.files else "nothing"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_file_cut_anywhere_is_refused_or_a_picture_and_never_a_crash(
    picture_decoder: PictureDecoder, form: str
) -> None:
    data = encoded(drawn(160, 120), form)
    cuts = range(0, len(data), max(1, len(data) // 40))
    assert {_outcome(picture_decoder, data[:length]) for length in cuts} <= {"a picture", "broken", "not_a_picture"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_file_with_bytes_changed_anywhere_is_refused_or_a_picture(picture_decoder: PictureDecoder, form: str) -> None:
    data = encoded(drawn(160, 120), form)
    expected = {"a picture", "broken", "not_a_picture", "too_many_pixels", "too_small", "too_long_a_strip"}
    places = range(0, len(data), max(1, len(data) // 60))
    assert {
        _outcome(picture_decoder, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]) for at in places
    } <= expected


@pytest.mark.parametrize("scans", [10, 50, 100])
def test_a_picture_of_many_scans_is_a_picture(picture_decoder: PictureDecoder, scans: int) -> None:
    """Scans behind the end of the first image are not decoded and not counted."""
    data = progressive(scans=scans)
    assert picture_decoder.encode(data + data).files == picture_decoder.encode(data).files


@pytest.mark.proof
def test_the_worst_accepted_pictures_need_no_more_than_their_processor_time(picture_decoder: PictureDecoder) -> None:
    """40 megapixels: a hundred scans, a PNG with transparency, a WebP. The child has 3 s for each."""
    flat = Image.new("RGBA", (7680, 5200), "teal")
    for data in (progressive(6300, 6300, scans=100), encoded(flat, "PNG"), encoded(flat, "WEBP", method=0)):
        assert picture_decoder.encode(data).files


@pytest.mark.parametrize(
    "deed",
    ["ctypes.string_at(0)", "bytearray(2**31)", "while True: pass", "os.read(0, 1)"],
    ids=["crashes", "takes all memory", "computes for ever", "waits for ever"],
)
def test_a_decoder_that_fails_in_the_worst_way_takes_nobody_along(monkeypatch: pytest.MonkeyPatch, deed: str) -> None:
    """The child process runs a decoder that does this; the caller gets an error, and the next file a new child.

    A child that computes ends by its processor time, long before the parent would end it.
    """
    with monkeypatch.context() as spoilt, PictureDecoder(seconds=3.0 if "read" in deed else 600.0) as picture_decoder:
        take_over(spoilt, deed)
        with pytest.raises(Refused) as refused:
            picture_decoder.encode(jpeg())
        assert refused.value.reasons == ("cannot_be_decoded",)
        spoilt.undo()
        picture_decoder._seconds = 30.0
        assert picture_decoder.encode(jpeg()).files


def _child(picture_decoder: PictureDecoder) -> decoder._Child:
    """The child that worked last."""
    child = picture_decoder._idle.get()
    picture_decoder._idle.put(child)
    assert child is not None
    return child


def test_a_child_has_limits_of_memory_files_and_descriptors() -> None:
    with PictureDecoder() as picture_decoder:
        picture_decoder.encode(jpeg())
        limits = (Path("/proc") / str(_child(picture_decoder)._process.pid) / "limits").read_text()
    assert re.search(r"Max file size +0 +0 ", limits)
    assert re.search(r"Max open files +0 +0 ", limits)
    assert re.search(rf"Max address space +{2**30} ", limits)


def test_one_child_does_for_one_picture_after_the_other_and_ends_with_the_room() -> None:
    with PictureDecoder() as picture_decoder:
        picture_decoder.encode(jpeg())
        child = _child(picture_decoder)
        picture_decoder.encode(jpeg(seed=2))
        assert _child(picture_decoder) is child
    assert child._process.poll() is not None


def test_a_decoder_that_has_ended_keeps_nobody_waiting() -> None:
    """A photo may wait in a queue when the API stops: its thread would keep the process from ending."""
    with PictureDecoder() as picture_decoder:
        picture_decoder.encode(jpeg())
    for _ in range(decoder.CHILDREN + 1):
        with pytest.raises(Unavailable):
            picture_decoder.encode(jpeg())


def test_waiting_too_long_is_refused_and_an_idle_decoder_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_WAIT_SECONDS", 0.05)
    with PictureDecoder() as idle, PictureDecoder() as other:
        idle.encode(jpeg())
        assert other.encode(jpeg()).files
        for _ in range(decoder.CHILDREN):
            decoder._slots.acquire()
        try:
            with pytest.raises(Unavailable):
                other.encode(jpeg())
            with PictureDecoder(slots=separate_slots()) as separate:
                assert separate.encode(jpeg()).files, "its own slots are free"
        finally:
            for _ in range(decoder.CHILDREN):
                decoder._slots.release()
        assert other.encode(jpeg()).files


def test_pixels_are_never_decoded_before_the_size_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a decoder saw the file")

    monkeypatch.setattr(Image, "open", opened)
    large = [data for data, reason in FILES.values() if reason == "too_many_pixels"]
    assert large
    for data in large:
        with pytest.raises(Refused) as refused:
            encode_picture(data)
        assert refused.value.reasons == ("too_many_pixels",)
