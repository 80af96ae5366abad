"""The signer's socket: its path, its mode, and the user of a connection.

unix(7): the path has at most 107 bytes; SO_PEERCRED gives the user of the process that connected.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from keys.protocol import MAX_SOCKET_PATH
from zpcode.errors import SignerError, Text
from zpcode.regular_files import open_own

BACKLOG: Final = 128
_CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid


def _refuse(zh: str, en: str) -> SignerError:
    return SignerError(Text(zh, en))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refuse(f"{path} 不可用（{error.strerror}）", f"{path} cannot be used ({error.strerror})") from error


@contextlib.contextmanager
def sole_signer(path: Path) -> Iterator[int]:
    """Hold the lock beside the socket, and give its descriptor. Raises SignerError if another signer holds it."""
    lock = path.with_name(f"{path.name}.lock")
    with _explained(lock):
        descriptor = open_own(lock, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise _refuse(f"{path} 上已有签名服务在运行", f"a signer is already running at {path}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def prepare(path: Path) -> None:
    """Make the socket's folder. Raises SignerError if the path is too long or is not a socket."""
    if (size := len(os.fsencode(path))) > MAX_SOCKET_PATH:
        raise _refuse(
            f"套接字路径 {path} 有 {size} 字节，最多 {MAX_SOCKET_PATH}；请用 ZPCODE_SIGNER_SOCKET 指定较短的路径",
            f"the socket path {path} has {size} bytes, and at most {MAX_SOCKET_PATH} are possible; "
            "set a shorter one in ZPCODE_SIGNER_SOCKET",
        )
    with _explained(path.parent):
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        raise _refuse(f"{path} 已存在且不是套接字", f"{path} exists and is not a socket")


def listen(path: Path, mode: int) -> socket.socket:
    """A listening socket at `path`. A socket left by a killed signer is replaced.

    It is bound under a umask, so others can connect at no moment. Only for a process with one thread that holds
    `sole_signer`.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    umask = os.umask(0o777 & ~mode)
    try:
        with _explained(path):
            path.unlink(missing_ok=True)
            listener.bind(str(path))
    finally:
        os.umask(umask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def peer_uid(connection: socket.socket) -> int:
    """The user id of the process that connected."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)
