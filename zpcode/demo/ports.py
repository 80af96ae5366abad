"""The ports the demo listens on, and the host name that a phone in the same network uses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from zpcode.errors import Text, Unavailable

TRIES = 20


def free_port(host: str, wanted: int) -> int:
    """`wanted`, or the next free port after it. Raises Unavailable if none of twenty ports is free."""
    if ":" in host:  # a code's base address allows no brackets
        raise Unavailable(
            Text(f"HOST={host}：请用 IPv4 地址或主机名", f"HOST={host}: give an IPv4 address or a host name")
        )
    for port in range(wanted, wanted + TRIES):
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except PermissionError:
                raise Unavailable(
                    Text(
                        f"无权使用端口 {port}，请用 PORT=… 指定",
                        f"port {port} is not permitted; choose one with PORT=…",
                    )
                ) from None
            except OSError as error:
                if error.errno not in _TAKEN:
                    raise Unavailable(
                        Text(
                            f"地址 {host} 不是本机的地址，请检查 HOST=…",
                            f"{host} is not an address of this machine; check HOST=…",
                        )
                    ) from None
            else:
                return port
    raise Unavailable(
        Text(
            f"端口 {wanted}–{wanted + TRIES - 1} 都被占用，请用 PORT=… 指定",
            f"ports {wanted} to {wanted + TRIES - 1} are all in use; choose one with PORT=…",
        )
    )


_TAKEN = frozenset({errno.EADDRINUSE})


def reachable_name(host: str, guesses: Iterable[str] = ("192.0.2.1",)) -> str:
    """The host for a link: `host` itself, or for 0.0.0.0 the address this machine uses towards other networks.

    Connecting a datagram socket sends nothing: it only asks the routing table.
    """
    if host != "0.0.0.0":  # noqa: S104 - compared, not bound
        return host
    for guess in guesses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((guess, 9))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return "127.0.0.1"
