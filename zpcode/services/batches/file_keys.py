"""The keys that code files are encrypted with, in one small file that only its owner may read.

Each line of the key file is one key: 32 random bytes in Base64 (44 characters). The first line encrypts. The other lines
are older keys; they only decrypt files that were written before. So a key is changed by a new first line, and
`zpcode batches encrypt` brings all files to it; after that, the older lines can be deleted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keys.files import make_folder, read_secret, replace_file, write_secret
from zpcode.errors import KeyringError, Text, Unavailable

KEY_BYTES: Final = 32
ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """One key: 32 bytes. Its `id` is in the header of each file that is encrypted with it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> bytes:
        """The first 8 bytes of SHA-256 over a prefix and the key: they say which key it is, and nothing about it."""
        return hashlib.sha256(b"zpcode-file-key\n" + self.secret).digest()[:ID_BYTES]


@dataclass(frozen=True, slots=True)
class EncryptionKeys:
    """The keys of a key file: `current` encrypts, `by_id` has all of them."""

    current: EncryptionKey
    by_id: Mapping[bytes, EncryptionKey]


def load(path: Path) -> EncryptionKeys:
    """The keys in a key file of mode 0600 or 0400. Raises Unavailable: missing, wrong mode or owner, no key in a line."""
    try:
        lines = read_secret(path).decode("ascii", "replace").split()
        keys = [_key(line, path) for line in lines]
    except KeyringError as error:
        raise _unusable(error.text) from error
    if not keys:
        raise _unusable(Text(f"{path} 是空文件", f"{path} is empty"))
    return EncryptionKeys(keys[0], {key.id: key for key in keys})


def secrets_of(path: Path) -> list[bytes]:
    """The keys of a key file as bytes, the one that encrypts first: other keys are derived from them. Raises Unavailable."""
    return [key.secret for key in load(path).by_id.values()]


def create(path: Path) -> bool:
    """Make a key file with one new key, unless the file exists. Returns whether it was made. Raises KeyringError."""
    if path.exists():
        return False
    make_folder(path.parent, 0o700)
    write_secret(path, _new_line())
    return True


def add(path: Path) -> None:
    """Put a new key before the others, so that it encrypts from now on; make the file if there is none. Raises KeyringError."""
    if not create(path):
        replace_file(path, _new_line() + read_secret(path), 0o600)


def _new_line() -> bytes:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n"


def _key(line: str, path: Path) -> EncryptionKey:
    try:
        secret = base64.b64decode(line, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != KEY_BYTES:
        text = Text(f"{path} 的每一行须为 32 字节密钥的 Base64 编码", f"each line of {path} must be 32 bytes in Base64")
        raise KeyringError(text)
    return EncryptionKey(secret)


def _unusable(reason: Text) -> Unavailable:
    return Unavailable(
        Text(
            f"码文件的加密密钥不可用：{reason.zh}；首次安装由 zpcode migrate 生成，其他主机请复制同一文件（ZPCODE_FILE_KEY）；若已遗失，见 docs/issuing.md",
            f"the key of the code files cannot be used: {reason.en}; the first zpcode migrate makes it, every other host "
            "needs a copy of the same file (ZPCODE_FILE_KEY); if it is lost, see docs/issuing.md",
        )
    )
