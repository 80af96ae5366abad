"""Errors that only the HTTP interface raises, as branches of the tree in `zpcode.errors`.

ZpError
├── Unauthenticated     no API key, or one that is not valid
├── TooMany             more requests of one key, or failures of one address, than allowed
├── UnsupportedMedia    a body of another media type or encoding
├── UnsatisfiableRange  a range that lies outside the file
├── Malformed           a request that does not match its schema, with every finding
├── FileRemoved         the file of codes was removed after its time and is being written again
└── Conflict
    └── NotReady        the file of codes is still being written
"""

from __future__ import annotations

from collections.abc import Iterable

from zpcode.errors import Conflict, Finding, Text, ZpError


class Unauthenticated(ZpError):
    """No API key, or one that is not valid. The answer is the same in both cases."""

    slug = "unauthenticated"

    def __init__(self) -> None:
        super().__init__(
            Text(
                "缺少有效的访问密钥；请在请求头中设置 Authorization: Bearer zpk_…",
                "no valid API key; send the header Authorization: Bearer zpk_…",
            )
        )


class TooMany(ZpError):
    """Too many requests of one key, or failures of one address. After `seconds` (at least 1) the next is allowed."""

    slug = "too-many-requests"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            Text(
                f"请求过于频繁，请在 {seconds} 秒后再试；本次请求没有改变任何内容",
                f"too many requests; try again in {seconds} s. Nothing was changed",
            )
        )
        self.seconds = seconds


class UnsupportedMedia(ZpError):
    """The body has a media type or an encoding that this address does not accept."""

    slug = "unsupported-media-type"

    def __init__(self, accepted: Iterable[str]) -> None:
        types = ", ".join(accepted)
        super().__init__(
            Text(
                f"请求体的 Content-Type 须为 {types}，且未经压缩",
                f"the body's Content-Type has to be {types}, without a Content-Encoding",
            )
        )


class UnsatisfiableRange(ZpError):
    """The requested range begins after the end of the file, which has `size` bytes."""

    slug = "unsatisfiable-range"

    def __init__(self, size: int) -> None:
        super().__init__(
            Text(f"文件共 {size} 字节，请求的范围超出文件", f"the file has {size} bytes; the range lies outside")
        )
        self.size = size


class Malformed(ZpError):
    """The request does not match its schema. Each finding names its place."""

    slug = "invalid-request"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        count = len(findings)
        super().__init__(
            Text(f"请求有 {count} 处不符合要求", f"the request is wrong in {count} place{'s' if count != 1 else ''}"),
            findings,
        )


class FileRemoved(ZpError):
    """The file of codes was removed after its time. It is being written again: `written` of `codes` are in it.

    The status is 503, not 409: `curl --retry` tries again by itself. `why` says what the file waits for, if that is known.
    """

    slug = "file-removed"

    def __init__(self, written: int, codes: int, why: Text | None) -> None:
        reason = why or Text("", "")
        super().__init__(
            Text(
                f"码文件存放期满已清除，正在重新生成：{codes} 个中已写入 {written} 个；内容与原文件逐字节相同。{reason.zh}",
                f"the file was removed after its time and is being written again, the same to the byte: {written} of {codes} "
                f"codes are written. {reason.en}".rstrip(),
            )
        )
        self.written, self.codes = written, codes


class NotReady(Conflict):
    """The file of codes is not finished: `written` of `codes` are in it. `why` says what it waits for, if that is known."""

    slug = "not-ready"

    def __init__(self, written: int, codes: int, why: Text | None) -> None:
        reason = why or Text("", "")
        super().__init__(
            Text(
                f"码文件尚未生成完毕：{codes} 个中已写入 {written} 个。{reason.zh}",
                f"the file is not finished: {written} of {codes} codes are written. {reason.en}".rstrip(),
            )
        )
        self.written, self.codes = written, codes
