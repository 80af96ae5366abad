"""What proves a batch outside Redis, read once in a recovery: its code file, and the signer's log.

A file proves a batch if the file key of this installation opens it, and every code in it is the code of the batch that a card describes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from io import BufferedReader
from typing import Final, NamedTuple

from keys.client import SigningService
from keys.keyring import Keyring
from zpcode.errors import ForeignFile, KeyringError, SignerError
from zpcode.exports.formats import EXPORTS, layout_of
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.file_cipher import DamagedFile
from zpcode.services.batches.unfinished_file import CodeFile
from zpcode.services.continuity.signed_codes import SignedRequests, proves, signed_requests
from zpcode.services.fsck.files import CONTENTS, CodeCheck
from zpcode.services.fsck.report import CheckResult
from zpcode.wire.payload import Level

_BLOCK: Final = 1024
_HEAD_BYTES: Final = 4096
_BASE: Final = re.compile(rb"(https?://[a-z0-9.-]+(?::[0-9]{1,5})?)/")


class ProvenFile(NamedTuple):
    """A code file that has exactly the codes of a batch, and the batch with the format and base address of the file."""

    batch: Batch
    file: CodeFile


class Proofs:
    """The proofs that the folder of code files and the signer give. To verify a large file takes minutes, so each is read once.

    Without `signer` its log proves nothing.
    """

    def __init__(self, exports: CodeFolder, keyring: Callable[[], Keyring], signer: SigningService | None) -> None:
        self._exports, self._keyring, self._signer = exports, keyring, signer
        self._files: dict[int, ProvenFile | None] = {}
        self._requests: SignedRequests | None = None

    def file(self, batch: Batch) -> ProvenFile | None:
        """The code file of a batch, if it has exactly the batch's codes. Raises Unavailable if the file key is missing."""
        if batch.number not in self._files:
            self._files[batch.number] = prove(batch, self._exports, self._keyring)
        return self._files[batch.number]

    def signed(self, batches: Collection[Batch]) -> set[int] | None:
        """The numbers of those batches whose codes the signer's log proves; None if nobody can read the log."""
        items = [batch for batch in batches if batch.level is Level.ITEM and batch.key_id]
        if self._requests is None and items and self._signer is not None:
            try:
                self._requests = signed_requests(self._signer, {batch.number for batch in items})
            except (SignerError, KeyringError):
                self._signer = None
        if self._requests is None:
            return set() if not items else None
        return {batch.number for batch in items if proves(self._requests.get(batch.number, ()), batch)}


def prove(batch: Batch, exports: CodeFolder, keyring: Callable[[], Keyring]) -> ProvenFile | None:
    """The finished file of a batch if every code in it is the batch's; None where there is none, or another one.

    Raises Unavailable if the key that the file is encrypted with is missing.
    """
    for name in EXPORTS:
        candidate = replace(batch, format=name)
        with suppress(FileNotFoundError, ForeignFile, DamagedFile), exports.open(candidate) as file:
            base = _BASE.search(file.read(_HEAD_BYTES))
            if base is None:
                continue
            candidate = replace(candidate, base=base[1].decode("ascii"))
            file.seek(0)
            if _has_exactly(candidate, file, keyring()):
                return ProvenFile(candidate, _digested(file))
    return None


def _has_exactly(batch: Batch, file: BufferedReader, keyring: Keyring) -> bool:
    """Whether a file has all codes of a batch, in order, and nothing else that the format would not write."""
    layout, outcome = layout_of(batch), CheckResult(CONTENTS)
    if batch.sealed and keyring.get(batch.key_id) is None:
        return False
    if file.read(len(layout.header)) != layout.header:
        return False
    check = CodeCheck(batch, f"batch-{batch.number}", keyring, outcome)
    for code in layout.codes(file, _spans(batch)):
        check.code(code)
        if outcome.wrong:
            return False
    return outcome.examined == batch.codes and (not layout.exact or file.seek(0, os.SEEK_END) == layout.size)


def _spans(batch: Batch) -> Iterator[range]:
    return (range(first, min(first + _BLOCK, batch.codes)) for first in range(0, batch.codes, _BLOCK))


def _digested(file: BufferedReader) -> CodeFile:
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    return CodeFile(digest, file.seek(0, os.SEEK_END))
