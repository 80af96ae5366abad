"""What may be loaded: this machine's loopback as it stands, anything else only when it was named and confirmed."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from zpcode.errors import Text

CONFIRM = "--yes-load-that-host"


def is_loopback(url: str) -> bool:
    """Whether an http or https address means this machine and nothing else."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return False
    try:
        return ip_address(parts.hostname).is_loopback
    except ValueError:  # a name; only this one cannot be pointed elsewhere by a name server (RFC 6761, 6.3)
        return parts.hostname == "localhost"


def refusal(urls: list[str], *, confirmed: bool) -> Text | None:
    """Why these addresses may not be loaded; None where they may."""
    far = [url for url in urls if not is_loopback(url)]
    if confirmed or not far:
        return None
    names = ", ".join(far)
    return Text(
        f"{names} 不是本机：压力测试会占满它的资源并写入数据。确实要对它进行测试，请加 {CONFIRM}",
        f"{names} is not this machine: a load test takes all it has, and writes to it. If that is meant, add {CONFIRM}",
    )
