"""Folders of sockets, in a place where other users may make folders too.

The name of such a folder is known before it exists, because every command finds the servers by it. So another user can make
something else under this name first: a symbolic link to `/etc`, which root would then give away to PostgreSQL's user, or a
folder whose sockets are his own.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import Final

from zpcode.errors import Text, Unavailable

_RUN: Final = Path("/run")


def parent() -> Path:
    """Where the folders are: `/run` for root, since nobody else can make a folder there, else the folder of temporary files."""
    if os.geteuid() == 0 and os.access(_RUN, os.W_OK) and _is_safe(_RUN.stat()):
        return _RUN
    return Path(tempfile.gettempdir())


def make(path: Path, owner: pwd.struct_passwd | None = None) -> None:
    """Make a folder, or take the one that is there if it belongs to this process's user, or to `owner`.

    With an `owner`, the folder is given to him and other users may enter it, as they may enter those of root; otherwise only
    this process's user may. Raises Unavailable if something else has the name, or others may exchange the folder.
    """
    if not _is_safe(path.parent.stat()):
        raise _refused(path.parent, "他人可以更换其中的目录", "others may exchange the folders in it")
    try:
        path.mkdir(0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(path, "不是目录", "is not a folder") from error
    try:
        user = os.geteuid()
        if os.fstat(descriptor).st_uid not in {user, user if owner is None else owner.pw_uid}:
            raise _refused(path, "属于别的用户", "belongs to another user")
        if owner is not None:
            os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
        os.fchmod(descriptor, 0o711 if user == 0 else 0o700)
    finally:
        os.close(descriptor)


def _is_safe(folder: os.stat_result) -> bool:
    """Whether only its owner may rename what is in it: nobody else may write to it, or it is sticky."""
    return not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or bool(folder.st_mode & stat.S_ISVTX)


def _refused(path: Path, zh: str, en: str) -> Unavailable:
    return Unavailable(Text(f"{path} {zh}，请删除后重试", f"{path} {en}; remove it and try again"))
