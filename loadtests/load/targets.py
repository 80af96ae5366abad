"""Which systems may be loaded: loopback without a question, any other only when named and confirmed."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from zpcode.errors import Text

CONFIRM = "--yes-load-that-host"


def is_loopback(url: str) -> bool:
    """Whether an http or https address can only be this machine."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:  # a name; only `localhost` always resolves to loopback (RFC 6761, 6.3)
        return parts.hostname == "localhost"


def refusal(urls: list[str], *, confirmed: bool) -> Text | None:
    """The reason why these addresses may not be loaded; None where they may."""
    far = [url for url in urls if not is_loopback(url)]
    if confirmed or not far:
        return None
    names = ", ".join(far)
    return Text(
        f"{names} 不是本机：压力测试会占满它的资源并写入数据。确实要对它进行测试，请加 {CONFIRM}",
        f"{names} is not this machine: a load test uses everything it has, and writes data to it. To load it, add {CONFIRM}",
    )
