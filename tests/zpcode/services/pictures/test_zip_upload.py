"""The ZIP beside a registry file: found by name as people write names, and refused where it is out of bounds."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
from io import BytesIO

import pytest

from tests.support.pictures import zipped
from zpcode.errors import ImportRefused, Refused
from zpcode.services.pictures.import_ import open_pictures
from zpcode.services.pictures.storage import PictureStorage
from zpcode.services.pictures.zip_upload import MAX_ENTRIES, ZipUpload, opened


def _read(file: BytesIO, name: str) -> bytes:
    with opened(file) as upload:
        return upload.read(name)


def _reason(file: BytesIO) -> str:
    with pytest.raises(Refused) as refused, opened(file):
        pass
    (reason,) = refused.value.reasons
    return reason


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("cup.jpg", "cup.jpg"),
        ("Cup.JPG", "cup.jpg"),
        ("图片/保温杯.jpg", "保温杯.jpg"),
        ("a/b/cup.jpg", "b/cup.jpg"),
        ("a/b/cup.jpg", "A\\B\\cup.jpg"),
        (unicodedata.normalize("NFD", "café.png"), "café.png"),
        ("杯（蓝）.jpg", "杯(蓝).jpg"),
        ("CUP１.jpg", "cup1.jpg"),
    ],
)
def test_a_file_is_found_as_a_person_would_find_it(stored: str, asked: str) -> None:
    assert _read(zipped({stored: b"it", "other.jpg": b"not"}), asked) == b"it"


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_names_are_read_where_their_encoding_is_not_said(encoding: str) -> None:
    """Chinese Windows writes names in GBK without a flag; some programs write UTF-8 without a flag."""
    raw = "双金属螺杆.jpg".encode(encoding)
    data = zipped({"x" * len(raw): b"it"}).getvalue().replace(b"x" * len(raw), raw)
    assert _read(BytesIO(data), "双金属螺杆.jpg") == b"it"


def test_a_name_that_several_files_have_is_refused_with_their_folders() -> None:
    file = zipped({"a/cup.jpg": b"1", "b/cup.jpg": b"2"})
    with pytest.raises(Refused) as refused:
        _read(file, "cup.jpg")
    assert refused.value.reasons == ("ambiguous",)
    assert "a/cup.jpg" in refused.value.text.zh
    assert _read(file, "a/cup.jpg") == b"1"


def test_what_systems_leave_in_a_zip_is_passed_over() -> None:
    with opened(zipped({"__MACOSX/._cup.jpg": b"", ".DS_Store": b"", "a/": b"", "cup.jpg": b"it"})) as upload:
        assert upload.read("cup.jpg") == b"it"
        assert "._cup.jpg" not in upload
        assert "nothing.jpg" not in upload
        with pytest.raises(KeyError):
            upload.read("nothing.jpg")


@pytest.mark.parametrize("name", ["/etc/passwd", "../../cup.jpg", "a/../cup.jpg", "..\\cup.jpg", "C:\\cup.jpg"])
def test_a_name_that_leads_out_is_refused(name: str) -> None:
    assert _reason(zipped({name: b"1"})) == "zip_path"


def test_no_more_files_than_agreed() -> None:
    few = zipped({f"{number}.jpg": b"" for number in range(MAX_ENTRIES)})
    with opened(few) as upload:
        assert isinstance(upload, ZipUpload)
    assert _reason(zipped({f"{number}.jpg": b"" for number in range(MAX_ENTRIES + 1)})) == "zip_too_many"


def test_a_directory_that_lies_about_its_length_is_not_read() -> None:
    """The directory says two entries but has sixty thousand: reading is bounded by the stated length."""
    data = bytearray(zipped({f"{number}.jpg": b"" for number in range(5000)}).getvalue())
    at = data.rindex(b"PK\x05\x06")
    struct.pack_into("<HH", data, at + 8, 2, 2)
    assert _reason(BytesIO(bytes(data))) == "zip_too_many"
    struct.pack_into("<L", data, at + 12, 2**31)
    assert _reason(BytesIO(bytes(data))) == "zip_too_many"


def test_zip64_is_refused_however_long_the_comment_behind_it() -> None:
    """Its locator stands before all that a comment of 65 535 bytes leaves of the last 64 KiB."""
    whole = zipped({"a.jpg": b"x"}).getvalue()
    head, end = whole[:-22], whole[-22:]
    at = int.from_bytes(end[16:20], "little")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 3000, 3000, len(head) - at, at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(head), 1)
    for comment in (0, 65_500, 65_535):
        file = BytesIO(head + record + locator + end[:-2] + struct.pack("<H", comment) + b" " * comment)
        assert _reason(file) == "zip_method"


def _sized(size: int, packed: int, count: int = 1) -> BytesIO:
    """A ZIP whose directory gives this size for each entry."""
    file = zipped({f"{number}.jpg": b"x" for number in range(count)}, zipfile.ZIP_STORED)
    data = bytearray(file.getvalue())
    at = -1
    for _ in range(count):
        at = data.index(b"PK\x01\x02", at + 1)
        struct.pack_into("<LL", data, at + 20, packed, size)
    return BytesIO(bytes(data))


def test_no_more_bytes_than_agreed() -> None:
    assert _reason(_sized(9_999_999, 9_999_999, 51)) == "zip_too_much"


def test_a_ratio_beyond_reason_is_refused() -> None:
    assert _reason(zipped({"bomb.jpg": bytes(5 * 10**6)})) == "zip_bomb"


def test_a_file_of_more_than_ten_megabytes_is_refused_by_name_and_the_others_are_not() -> None:
    file = zipped({"large.jpg": bytes(10**7 + 1), "cup.jpg": b"it"}, zipfile.ZIP_STORED)
    with opened(file) as upload:
        with pytest.raises(Refused) as refused:
            upload.read("large.jpg")
        assert refused.value.reasons == ("too_large",)
        assert upload.read("cup.jpg") == b"it"


def test_a_file_that_is_not_what_its_sum_says_is_refused() -> None:
    data = bytearray(zipped({"cup.jpg": b"it"}, zipfile.ZIP_STORED).getvalue())
    data[data.index(b"it")] ^= 1
    with opened(BytesIO(bytes(data))) as upload, pytest.raises(Refused) as refused:
        upload.read("cup.jpg")
    assert refused.value.reasons == ("zip_broken",)


def test_a_password_and_an_unusual_method_are_named() -> None:
    data = bytearray(zipped({"cup.jpg": b"it"}).getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert _reason(BytesIO(bytes(data))) == "zip_encrypted"
    assert _reason(zipped({"cup.jpg": b"it"}, zipfile.ZIP_LZMA)) == "zip_method"


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff" + bytes(500), b"PK\x05\x06", b"PK\x03\x04" + bytes(99)]
)
def test_what_is_no_zip_is_refused(data: bytes) -> None:
    assert _reason(BytesIO(data)) == "zip_broken"


def test_a_zip_cut_anywhere_is_refused() -> None:
    data = zipped({"cup.jpg": b"it" * 300, "pot.jpg": b"is" * 300}).getvalue()
    for length in range(len(data) - 1):
        assert _reason(BytesIO(data[:length])) == "zip_broken"


def test_the_findings_of_an_import_name_the_zip() -> None:
    with pytest.raises(ImportRefused) as refused, open_pictures(PictureStorage("file:///nowhere"), BytesIO(b"no")):
        pass
    assert [(one.where, one.reason) for one in refused.value.findings] == [("ZIP", "zip_broken")]
