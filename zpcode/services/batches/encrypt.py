"""Brings all finished code files to the current file key: after a change of the key, or from a version without encryption."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from zpcode.errors import ForeignFile, Text, Unavailable
from zpcode.regular_files import NotRegular, new_file, own_file
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_folder, ownership
from zpcode.services.batches.code_folder import CodeFolder, label_of
from zpcode.services.batches.encrypted_file import CHUNK_BYTES, EncryptedAppender
from zpcode.services.batches.file_cipher import HEADER_BYTES, Content, DamagedFile, FileCipher, FileHeader
from zpcode.services.batches.file_keys import EncryptionKeys
from zpcode.store import batches
from zpcode.store.database.session import Engine
from zpcode.store.monitoring import integrity

_BLOCK = 16 * CHUNK_BYTES
_BEING_WRITTEN: Final = Text(
    "其文件正以旧密钥写入；完成后请再执行 zpcode batches encrypt，此前请勿删除旧密钥",
    "its file is being written under an older key; run zpcode batches encrypt again when it is complete, and keep that key "
    "until then",
)


@dataclass(slots=True)
class EncryptionReport:
    """How many files were written anew, and the batches whose file could not be, with the reason."""

    written: int = 0
    refused: dict[int, Text] = field(default_factory=dict)


def encrypt_all(engine: Engine, folder: CodeFolder, report: Callable[[int], None] | None = None) -> EncryptionReport:
    """Write each finished file that is not under the current file key anew, under this key.

    The new file replaces the old one in one step, and only if its SHA-256 is the recorded one. A missing, damaged or foreign
    file stays as it is; `zpcode batches export` writes it again. A file that is being written keeps its key, and is named.
    `report` is called with the number of each written batch. Raises Unavailable.
    """
    keys, result = folder.keys(), EncryptionReport()
    for batch in _every_batch(engine):
        if any(_is_older(path, keys) for path in folder.unfinished_files(batch)) and _is_awaited(engine, batch):
            result.refused[batch.number] = _BEING_WRITTEN
        for task in _tasks(batch, folder):
            if not task.path.is_file() or _is_current(task.path, keys):
                continue
            with batches.issuing(engine, batch.number) as locked:
                if not locked:
                    result.refused[batch.number] = _BEING_WRITTEN
                    continue
                try:
                    _replace(task, folder, keys)
                except (ForeignFile, Unavailable) as error:
                    result.refused[batch.number] = error.text
                    continue
            result.written += 1
            if report is not None:
                report(batch.number)
    return result


def _is_awaited(engine: Engine, batch: Batch) -> bool:
    """Whether an unfinished file of this batch will be finished. That of an interrupted `zpcode batches export` may be left for ever."""
    if batch.state is BatchState.RESERVED or batch.awaits_file:
        return True
    with batches.issuing(engine, batch.number) as locked:
        return not locked


@dataclass(frozen=True, slots=True)
class _Task:
    """A file to encrypt anew: what it contains, and the SHA-256 of its content."""

    batch: Batch
    path: Path
    content: Content
    sha256: str


def _tasks(batch: Batch, folder: CodeFolder) -> Iterator[_Task]:
    if batch.state is not BatchState.ISSUED:
        return
    yield _Task(batch, folder.finished(batch), Content.CODES, batch.sha256)
    if batch.signatures_sha256:
        yield _Task(batch, folder.signatures(batch), Content.SIGNATURES, batch.signatures_sha256)


def _every_batch(engine: Engine) -> Iterator[Batch]:
    with integrity.snapshot(engine) as connection:
        for chunk in integrity.every_batch(connection):
            yield from chunk


def _is_current(path: Path, keys: EncryptionKeys) -> bool:
    header = _header(path)
    return header is not None and header.key_id == keys.current.id


def _is_older(path: Path, keys: EncryptionKeys) -> bool:
    header = _header(path)
    return header is not None and header.key_id != keys.current.id


def _header(path: Path) -> FileHeader | None:
    try:
        with own_file(path) as file:
            return FileHeader.parse(file.read(HEADER_BYTES))
    except (FileNotFoundError, NotRegular):  # `_replace` says why the second is refused
        return None


def _replace(task: _Task, folder: CodeFolder, keys: EncryptionKeys) -> None:
    path, label = task.path, label_of(task.batch, task.content)
    fresh = path.with_name(
        f".{path.name}.new"
    )  # not a name that fsck, or an interrupted issue, would take for a code file
    try:
        with _content(task, folder) as source, new_file(fresh) as target:
            digest = _copy(source, target, FileCipher.fresh(keys.current, label))
        if digest != task.sha256:
            raise code_folder.foreign(path, label)
        fresh.replace(path)
        ownership.sync_directory(folder.path)
    except DamagedFile as damage:
        raise Unavailable(Text(f"{path.name} 已损坏（{damage}）", f"{path.name} is damaged ({damage})")) from damage
    except OSError as error:
        zh, en = f"{path}：{error.strerror}", f"{path}: {error.strerror}"
        raise Unavailable(Text(zh, en)) from error
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _content(task: _Task, folder: CodeFolder) -> Iterator[BinaryIO]:
    """The content of a finished file, also of one that is not encrypted."""
    with own_file(task.path) as plain:
        if FileHeader.parse(plain.read(HEADER_BYTES)) is None:
            plain.seek(0)
            yield plain
            return
    with folder.open(task.batch, task.path, task.content) as file:
        yield file


def _copy(source: BinaryIO, target: BinaryIO, cipher: FileCipher) -> str:
    """Write a whole file; the SHA-256 of its content in hex."""
    digest, appender = hashlib.sha256(), EncryptedAppender(target, cipher)
    target.write(cipher.header)
    appender.truncate(0)
    while block := source.read(_BLOCK):
        digest.update(block)
        appender.append(block)
    appender.finish()
    return digest.hexdigest()
