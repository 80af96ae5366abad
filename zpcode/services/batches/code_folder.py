"""The folder of code files: which file belongs to which batch, and how a finished one is read.

A file belongs to a batch if its header has the batch's number and identity (`encrypted_file.FileLabel`). A name proves
nothing: a database that was restored from a backup gives a number again, with other secret keys and so with other codes.
A file that belongs to another batch, or is no code file, is never overwritten, cut or renamed.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from zpcode.errors import Finding, ForeignFile, Text, Unavailable
from zpcode.exports.formats import file_name
from zpcode.regular_files import NotRegular, own_file
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import file_keys
from zpcode.services.batches.encrypted_file import CHUNK_BYTES, DecryptedFile
from zpcode.services.batches.file_cipher import (
    HEADER_BYTES,
    Content,
    DamagedFile,
    FileCipher,
    FileHeader,
    FileLabel,
)
from zpcode.services.batches.file_keys import EncryptionKeys

_IDENTITY_BYTES: Final = 16


class FileKeyMissing(Unavailable):
    """A file is encrypted with a key that is not in the key file: the key is lost, or is on another host."""


@dataclass(frozen=True, slots=True)
class CodeFolder:
    """The folder `path`, and the file with the keys that its files are encrypted with."""

    path: Path
    key_file: Path

    def finished(self, batch: Batch) -> Path:
        """The path of a batch's finished file."""
        return self.path / file_name(batch)

    def unfinished(self, batch: Batch) -> Path:
        """The path of a batch's unfinished file."""
        return self.path / f"{file_name(batch)}.part"

    def signatures(self, batch: Batch) -> Path:
        """The path of the file with a batch's kept signatures."""
        return self.path / f"batch-{batch.number}.signatures"

    def unfinished_files(self, batch: Batch) -> tuple[Path, ...]:
        """The files of a batch that is not issued: the unfinished file, and signatures that are kept for it.

        Those signatures are finished first; once the batch is issued they are no unfinished file.
        """
        signed = self.signatures(batch)
        unfinished = (self.unfinished(batch), signed.with_name(f"{signed.name}.part"))
        return unfinished if batch.state is BatchState.ISSUED else (*unfinished, signed)

    def discard(self, batch: Batch) -> None:
        """Delete the files of a batch that is not issued."""
        for path in self.unfinished_files(batch):
            path.unlink(missing_ok=True)

    def make(self) -> None:
        """Make the folder if it does not exist."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keys(self) -> EncryptionKeys:
        """The keys as they are now: a changed key file needs no restart. Raises Unavailable."""
        return file_keys.load(self.key_file)

    def open(self, batch: Batch, path: Path | None = None, content: Content = Content.CODES) -> io.BufferedReader:
        """The content of a batch's finished file, at `path` or under its usual name; only what is read is decrypted.

        Raises OSError (FileNotFoundError is one), ForeignFile if it is the file of another batch or no code file,
        FileKeyMissing if its key is not in the key file, Unavailable if there is no key file. Opening or reading raises DamagedFile.
        """
        path, label = path or self.finished(batch), label_of(batch, content)
        try:
            file = own_file(path)
        except NotRegular:
            raise foreign(path, label) from None
        try:
            cipher = self._cipher(file, path, label)
        except BaseException:
            file.close()
            raise
        return io.BufferedReader(DecryptedFile(file, cipher, complete=True), CHUNK_BYTES)

    def is_authentic(self, path: Path, number: int) -> bool:
        """Whether a file, finished or not, was begun by this installation for the batch with this number.

        Its header, which is on disk before the first code, has a code under the file key. Raises Unavailable if there is no key file.
        """
        keys = self.keys().by_id
        try:
            with own_file(path) as file:
                header = FileHeader.parse(file.read(HEADER_BYTES))
            if header is None or header.label.number != number or header.key_id not in keys:
                return False
            FileCipher.of(keys[header.key_id], header)
        except (OSError, DamagedFile):
            return False
        return True

    def _cipher(self, file: BinaryIO, path: Path, label: FileLabel) -> FileCipher:
        header = FileHeader.parse(file.read(HEADER_BYTES))
        if header is None or header.label != label:
            raise foreign(path, label)
        key = self.keys().by_id.get(header.key_id)
        if key is None:
            raise FileKeyMissing(
                Text(
                    f"{path.name} 以密钥 {header.key_id.hex()} 加密，而 {self.key_file} 中没有这把密钥",
                    f"{path.name} is encrypted with the key {header.key_id.hex()}, which is not in {self.key_file}",
                )
            )
        return FileCipher.of(key, header)


def label_of(batch: Batch, content: Content) -> FileLabel:
    """The label of a batch's file."""
    secrets = batch.permutation_key + (b"" if batch.sealed else batch.check_key)  # only compact codes depend on both
    identity = hashlib.sha256(b"zpcode-batch\n" + secrets).digest()[:_IDENTITY_BYTES]
    return FileLabel(batch.number, identity, batch.key_id, content)


def foreign(path: Path, label: FileLabel) -> ForeignFile:
    """The refusal to use or overwrite a file."""
    number = label.number
    text = Text(
        f"{path} 不是批次 {number} 以密钥 {label.signing_key or '-'} 签发的码文件，不会被覆盖：该序号可能曾发给另一批次"
        "（例如数据库由备份恢复），或文件未加密、文件头已损坏；请先查明来源，再把文件移走",
        f"{path} is not the code file of batch {number} under the key {label.signing_key or '-'} and is not overwritten: "
        "the number may have been given to another batch before (for example, the database was restored from a backup), "
        "or the file is not encrypted, or its header is damaged; find out where the file is from, then move it away",
    )
    return ForeignFile(text, (Finding("file_of_other_content", text, path.name),))
