"""Folders of encrypted code files: made with their key, read as an enterprise downloads them, and damaged on purpose."""

from __future__ import annotations

from pathlib import Path

from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import file_keys
from zpcode.services.batches.code_folder import CodeFolder, label_of
from zpcode.services.batches.encrypted_file import EncryptedAppender
from zpcode.services.batches.file_cipher import Content, FileCipher


def code_folder(path: Path) -> CodeFolder:
    """The folder at `path`, with a key beside it."""
    folder = CodeFolder(path, path.with_name(f"{path.name}.files.key"))
    file_keys.create(folder.key_file)
    return folder


def content(folder: CodeFolder, batch: Batch, path: Path | None = None) -> bytes:
    """The content of a batch's finished file."""
    with folder.open(batch, path) as file:
        return file.read()


def put_content(folder: CodeFolder, batch: Batch, data: bytes, path: Path | None = None) -> Path:
    """Write a file of a batch with this content, encrypted as the service does; its path."""
    path = path or folder.finished(batch)
    folder.make()
    with path.open("w+b") as file:
        cipher = FileCipher.fresh(folder.keys().current, label_of(batch, Content.CODES))
        file.write(cipher.header)
        appender = EncryptedAppender(file, cipher)
        appender.truncate(0)
        appender.append(data)
        appender.finish()
    path.chmod(0o600)
    return path
