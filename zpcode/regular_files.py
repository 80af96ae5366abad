"""Open a file only if it is one: a FIFO in its place keeps its reader waiting for ever, and a device has no end.

A file that belongs to a service is opened with `open_own`: neither through a symbolic link, which names a file that somebody
else chose, nor if another user owns it, who can change it at any time. A file that a person names, or that another service
has written, is opened with `open_any`: it has to be regular, and nothing more.

The open file is checked, so that it cannot be exchanged between the check and the reading (CWE-367).
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final

_ROOT: Final = 0
_ACCESS: Final = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class NotRegular(OSError):
    """In the place of a file is something else: a FIFO, a socket, a device, a folder, a symbolic link, or another user's file."""


def open_own(path: Path, flags: int = os.O_RDONLY, mode: int = 0o600) -> int:
    """The descriptor of a regular file of this process's user, or of root. `flags` and `mode` are those of open(2).

    A process of root reads files of every user. Raises NotRegular, and OSError as open(2) does. `os.O_TRUNC` is not allowed:
    it would empty a file before the check.
    """
    descriptor = _opened(path, flags | os.O_NOFOLLOW, mode)
    owner, user = os.fstat(descriptor).st_uid, os.geteuid()
    if owner not in {user, _ROOT} and not (user == _ROOT and flags & _ACCESS == os.O_RDONLY):
        os.close(descriptor)
        raise NotRegular(errno.EPERM, f"belongs to user {owner}", str(path))
    return descriptor


def open_any(path: Path, *, links: bool = True) -> int:
    """The descriptor of a regular file, for reading. Raises NotRegular, and OSError as open(2) does.

    With `links=False`, a symbolic link is none.
    """
    return _opened(path, os.O_RDONLY if links else os.O_RDONLY | os.O_NOFOLLOW, 0)


def own_file(path: Path) -> BufferedReader:
    """The file of `open_own`, for reading."""
    return open(open_own(path), "rb")


def read_own(path: Path) -> bytes:
    """The content of the file of `open_own`."""
    with own_file(path) as file:
        return file.read()


def new_file(path: Path) -> BinaryIO:
    """A new file for writing that only this process's user may read, in place of whatever has the name."""
    path.unlink(missing_ok=True)
    return os.fdopen(open_own(path, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")


def any_file(path: Path, *, links: bool = True) -> BufferedReader:
    """The file of `open_any`."""
    return open(open_any(path, links=links), "rb")


def _opened(path: Path, flags: int, mode: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, mode)
    except OSError as error:
        # A symbolic link; a socket, or a FIFO without a reader; a folder that is opened for writing.
        if error.errno in {errno.ELOOP, errno.ENXIO, errno.EISDIR}:
            raise NotRegular(error.errno, "not a regular file", str(path)) from error
        raise
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NotRegular(errno.EINVAL, "not a regular file", str(path))
