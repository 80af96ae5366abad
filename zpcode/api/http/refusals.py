"""What only an HTTP interface refuses, as branches of the one tree.

ZpError
├── Unauthenticated     no API key, or none that counts
├── TooMany             more requests, or failures, than one key or address may make
├── UnsupportedMedia    a body of another media type or encoding
├── UnsatisfiableRange  a range that lies outside the file
├── Malformed           a request that does not agree with its schema: every finding
└── Conflict
    └── NotReady        the file of codes is still being written
"""

from __future__ import annotations

from collections.abc import Iterable

from zpcode.errors import Conflict, Finding, Text, ZpError


class Unauthenticated(ZpError):
    """No API key, or none that counts; which of the two is not told."""

    slug = "unauthenticated"

    def __init__(self) -> None:
        super().__init__(
            Text(
                "缺少有效的访问密钥；请在请求头写 Authorization: Bearer zpk_…",
                "no valid API key; send the header Authorization: Bearer zpk_…",
            )
        )


class TooMany(ZpError):
    """More requests than one key may make, or more failures than one address; in `seconds` (at least 1) there is one."""

    slug = "too-many-requests"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            Text(
                f"请求过于频繁，请在 {seconds} 秒后再试；什么也没有改变",
                f"too many requests; try again in {seconds} s. Nothing was changed",
            )
        )
        self.seconds = seconds


class UnsupportedMedia(ZpError):
    """The body is of a type, or in an encoding, that this address does not take."""

    slug = "unsupported-media-type"

    def __init__(self, accepted: Iterable[str]) -> None:
        known = ", ".join(accepted)
        super().__init__(
            Text(
                f"请求体的 Content-Type 须为 {known}，且未经压缩",
                f"the body's Content-Type has to be {known}, without a Content-Encoding",
            )
        )


class UnsatisfiableRange(ZpError):
    """The range asked for begins behind the end of the file, which has `size` bytes."""

    slug = "unsatisfiable-range"

    def __init__(self, size: int) -> None:
        super().__init__(
            Text(f"文件共 {size} 字节，所求范围在其外", f"the file has {size} bytes; the range lies outside")
        )
        self.size = size


class Malformed(ZpError):
    """The request does not agree with its schema. Each finding names its place."""

    slug = "invalid-request"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        count = len(findings)
        super().__init__(
            Text(f"请求有 {count} 处不符合要求", f"the request is wrong in {count} place{'s' if count != 1 else ''}"),
            findings,
        )


class NotReady(Conflict):
    """The file of codes is not finished: `written` of `codes` are in it. `why` says what it waits for, if known."""

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
