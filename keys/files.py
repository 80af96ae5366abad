"""Files of keys: a secret is read only if nobody but its owner can read the file, and a file is replaced in one step.

A secret that others can read may have been copied. So such a file is refused and not repaired: the operator has to know.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from zpcode.errors import KeyringError, Text
from zpcode.regular_files import any_file, open_own

SECRET_MODES: Final = frozenset({0o600, 0o400})
_MAX_SECRET = 64 * 1024
_MAX_PUBLIC = 2 * 2**20  # twice the longest keyring, so that a longer one is refused as such


def _refuse(zh: str, en: str) -> KeyringError:
    return KeyringError(Text(zh, en))


def _unreadable(path: Path, error: OSError) -> KeyringError:
    return _refuse(f"无法打开 {path}（{error.strerror}）", f"cannot open {path} ({error.strerror})")


def check_secret(path: Path, status: os.stat_result) -> None:
    """Raises KeyringError if a secret file is not a regular file, has another owner, or is accessible to others."""
    if not stat.S_ISREG(status.st_mode):
        raise _refuse(f"{path} 不是普通文件", f"{path} is not a regular file")
    user = os.geteuid()
    if status.st_uid != user:
        raise _refuse(
            f"{path} 属于用户 {status.st_uid}，而当前用户是 {user}；请执行 chown {user} {path}",
            f"{path} belongs to user {status.st_uid} but this process runs as {user}; run: chown {user} {path}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode not in SECRET_MODES:
        raise _refuse(
            f"{path} 的权限是 {mode:04o}，必须是 0600 或 0400；请执行 chmod 600 {path}",
            f"{path} has mode {mode:04o} but must have 0600 or 0400; run: chmod 600 {path}",
        )


def read_secret(path: Path) -> bytes:
    """A secret file's bytes (at most 64 KiB), after `check_secret`. A symbolic link is refused.

    Raises KeyringError with the file and what to do. The open file is checked, so it cannot be exchanged between the check
    and the reading.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        check_secret(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_SECRET)
    finally:
        os.close(descriptor)


def read_public(path: Path) -> bytes:
    """A file's bytes (at most 2 MiB); others may read the file too. Raises KeyringError if it cannot be read."""
    try:
        with any_file(path) as file:
            return file.read(_MAX_PUBLIC)
    except OSError as error:
        raise _unreadable(path, error) from error


def make_folder(path: Path, mode: int = 0o755) -> None:
    """Make a folder and its parents if they do not exist. Raises KeyringError if that fails."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
    except OSError as error:
        raise _unreadable(path, error) from error


def _write_all(descriptor: int, content: bytes) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Force a folder's names to disk (fsync)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file of mode 0600. It is on disk when this returns.

    Raises KeyringError if the file exists: a key is never overwritten.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        _write_all(descriptor, content)
        sync_folder(path.parent)
    except FileExistsError as error:
        raise _refuse(f"{path} 已存在，不会覆盖", f"{path} exists and is not overwritten") from error
    except OSError as error:
        raise _refuse(f"无法写入 {path}（{error.strerror}）", f"cannot write {path} ({error.strerror})") from error


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` in one step: a reader sees the old content or the new content, never a part.

    Raises KeyringError if it cannot be written; the old file is then unchanged.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        os.fchmod(descriptor, mode)  # whatever the umask
        _write_all(descriptor, content)
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise _refuse(f"无法写入 {path}（{error.strerror}）", f"cannot write {path} ({error.strerror})") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file of this name; waits until it is free. The lock ends with the process."""
    try:
        descriptor = open_own(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
