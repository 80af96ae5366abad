"""What somebody may put in the place of a file."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final


def _link(path: Path) -> None:
    target = path.with_name(f"{path.name}.target")
    target.write_bytes(b"chosen by somebody else")
    path.symlink_to(target)


def _link_to_fifo(path: Path) -> None:
    fifo = path.with_name("fifo")
    os.mkfifo(fifo)
    path.symlink_to(fifo)


STRANGE: Final[dict[str, Callable[[Path], None]]] = {
    "a FIFO": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a FIFO": _link_to_fifo,
    "a socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a folder": Path.mkdir,
}
"""Nobody can read a file there, not even its maker."""
LINK: Final[dict[str, Callable[[Path], None]]] = {"a symbolic link": _link}
"""A file can be read there, but not the one that was written."""


def put(kind: str, path: Path) -> None:
    """Put it in the place of a file, or of what was put there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.with_name("fifo").unlink(missing_ok=True)
    (STRANGE | LINK)[kind](path)
