"""Check an uploaded workbook before it is read: its format and its size.

An .xlsx file is a ZIP of XML and can be malicious: a small file with an enormous content, a directory with false sizes, a
sheet with a million columns, XML with expanding entities. `checked` reads each needed part once, in small pieces, counts
its content, and copies it to a new archive. So the reader only gets checked parts. Raises Refused, and never allocates
more than the limits.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from zpcode.errors import Refused, refusal
from zpcode.services.registry.files.xml_scan import Scan

MAX_FILE: Final = 32 * 2**20  # bytes, as uploaded
MAX_MEMBERS: Final = 1000
MAX_UNPACKED: Final = 256 * 2**20  # bytes, all members together
MAX_RATIO: Final = 200  # greatest ratio of unpacked to packed size, for members above 1 MiB
PIECE: Final = 32 * 2**10  # bytes that are unpacked and scanned at a time
_LEGACY = bytes.fromhex("d0cf11e0a1b11ae1")  # OLE: an old .xls, or an .xlsx with a password
_NEEDED = re.compile(
    r"\[Content_Types\]\.xml|_rels/\.rels|xl/_rels/[^/]+\.rels"
    r"|xl/(?:workbook|sharedStrings|styles)[0-9]*\.xml|xl/worksheets/[^/]+\.xml",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Archive:
    """The checked parts of a workbook. `uncached` are the cells of each part whose formula has no stored value."""

    file: BytesIO
    uncached: dict[str, frozenset[str]]


def too_large() -> Refused:
    """The refusal of a file above 32 MiB."""
    megabytes = MAX_FILE // 2**20
    return refusal(
        "too_large",
        f"文件超过 {megabytes} MiB，请拆分后分别导入",
        f"the file is larger than {megabytes} MiB; split it and import the parts",
    )


def checked(data: bytes) -> Archive:
    """Check an uploaded file and return its parts. Raises Refused with one finding."""
    if len(data) > MAX_FILE:
        raise too_large()
    if data.startswith(_LEGACY):
        raise refusal(
            "legacy",
            "这是旧格式（.xls）或设有密码的工作簿，请去掉密码并另存为 .xlsx",
            "an old .xls or a workbook with a password; remove the password and save it as .xlsx",
        )
    if not data.startswith(b"PK"):
        raise refusal(
            "not_a_workbook", "不是 .xlsx 工作簿，也不是 JSON 文件", "neither an .xlsx workbook nor a JSON file"
        )
    try:
        with zipfile.ZipFile(BytesIO(_check_member_count(data))) as archive:
            return _copied(archive, _checked_members(archive))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError, ValueError) as error:
        raise broken() from error


def broken() -> Refused:
    """The refusal of a damaged or incomplete file."""
    return refusal(
        "broken",
        "工作簿已损坏或不完整，请用电子表格软件重新另存为 .xlsx 后再试",
        "the workbook is damaged or incomplete; open it in a spreadsheet program, save it as .xlsx and try again",
    )


def _bomb(zh: str, en: str) -> Refused:
    return refusal("too_much", f"工作簿内容超出限制：{zh}", f"the workbook exceeds the limits: {en}")


def _check_member_count(data: bytes) -> bytes:
    # Checked before the directory is read, because each entry costs memory.
    if data.count(b"PK\x01\x02") > MAX_MEMBERS:
        raise _bomb(f"内含文件超过 {MAX_MEMBERS} 个", f"more than {MAX_MEMBERS} files inside")
    return data


def _checked_members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if sum(member.file_size for member in members) > MAX_UNPACKED:
        raise _bomb(f"解压后超过 {MAX_UNPACKED // 2**20} MiB", f"more than {MAX_UNPACKED // 2**20} MiB unpacked")
    for member in members:
        if member.flag_bits & 1:
            raise refusal(
                "encrypted", "工作簿设有密码，请去掉密码后再试", "the workbook has a password; remove it first"
            )
        if member.file_size > max(2**20, MAX_RATIO * member.compress_size):
            raise _bomb("压缩比异常", "the compression ratio of a part is abnormal")
    needed = [member for member in members if _NEEDED.fullmatch(member.filename)]
    if len({member.filename for member in needed}) != len(needed):
        raise broken()
    return needed


def _copied(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Archive:
    file, uncached, unpacked, elements = BytesIO(), {}, 0, 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as clean:
        for member in members:
            scan = Scan(is_sheet="worksheets/" in member.filename, elements=elements)
            with archive.open(member) as source, clean.open(member.filename, "w") as target:
                while piece := source.read(PIECE):
                    unpacked += len(piece)
                    if unpacked > MAX_UNPACKED:
                        raise _bomb("解压后过大", "too large unpacked")
                    scan.feed(piece)
                    target.write(piece)
            scan.close()
            elements = scan.elements
            uncached[member.filename] = frozenset(scan.uncached)
    return Archive(file, uncached)
