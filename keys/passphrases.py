"""Where a passphrase comes from: a file that only its owner can read, or a person at a terminal.

Never a command-line argument or an environment variable: other processes can read those.
"""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

from keys.files import read_secret
from zpcode.errors import KeyringError, Text


def from_file(path: Path) -> bytes:
    """The passphrase in a file of mode 0600 or 0400, without a line break at its end. Raises KeyringError."""
    passphrase = read_secret(path).removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise KeyringError(Text(f"口令文件 {path} 是空的", f"the passphrase file {path} is empty"))
    return passphrase


def obtain(path: Path | None, name: Text, setting: str, *, twice: bool = False) -> bytes:
    """The passphrase from the file `path`, or else from the terminal. A new passphrase is asked for `twice`.

    `name` is the key it is for, `setting` the variable that names the file. Raises KeyringError without file and terminal,
    or if the two inputs differ.
    """
    if path is not None:
        return from_file(path)
    if not sys.stdin.isatty():
        raise KeyringError(
            Text(
                f"需要输入{name.zh}口令：请在终端运行，或设置 {setting}",
                f"the {name.en} passphrase is needed: run this in a terminal, or set {setting}",
            )
        )
    typed = getpass.getpass(f"{name.zh}口令 / {name.en} passphrase: ")
    if twice and getpass.getpass("请再次输入 / again: ") != typed:
        raise KeyringError(Text("两次输入的口令不一致", "the two passphrases differ"))
    return typed.encode("utf-8")
