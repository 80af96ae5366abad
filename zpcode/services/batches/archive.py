"""Keeps what could not be made again once a signing key may not sign: the signatures of its batches, 64 bytes a code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from keys.client import SigningService
from zpcode.errors import LostFile, Text, Unavailable, ZpError
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, signatures
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.file_cipher import DamagedFile
from zpcode.services.batches.unfinished_file import disk_errors, replacing
from zpcode.store import audit, batches
from zpcode.store.database.session import Engine, transaction

_MANY = 100


@dataclass(slots=True)
class ArchiveReport:
    """The batches of a key by number: what is kept of them, and why something is missing.

    `archived`: their signatures are kept. `as_files`: only the file is kept. `unfinished`: not issued yet, or being
    written at the moment. `refused`: neither could be made sure of, with the reason. `codes` is the sum over the first two.
    """

    archived: list[int] = field(default_factory=list)
    as_files: list[int] = field(default_factory=list)
    unfinished: list[int] = field(default_factory=list)
    refused: dict[int, Text] = field(default_factory=dict)
    codes: int = 0

    @property
    def complete(self) -> bool:
        """Whether every batch of the key can be written again without the key."""
        return not self.unfinished and not self.refused


@dataclass(frozen=True, slots=True)
class KeyArchive:
    """Archives the batches of a key.

    `actor` and `now` (aware) are for the audit log. `report` is called with the codes done of the present batch; `stop` ends
    early. An interrupted run is continued by the next.
    """

    engine: Engine
    signer: SigningService
    folder: CodeFolder
    actor: str
    now: datetime
    report: Callable[[int], None] | None = None
    stop: threading.Event | None = None

    def archive(self, key_id: str, *, removed_only: bool = False) -> ArchiveReport:
        """Make sure that each batch of a key can be written again without it; with `removed_only` each whose file is removed and
        of which no signatures are recorded: what is kept is not read again each time.

        The signatures are made again and kept, and the file that they give has the recorded SHA-256. If the key cannot repeat
        them, a file that is there is enough: it is never removed. Raises Unavailable (the database).
        """
        result = ArchiveReport()
        for batch in self._batches(key_id):
            if removed_only and (batch.file_removed_at is None or batch.signatures_sha256):
                continue
            with batches.issuing(self.engine, batch.number) as locked:
                if not locked or batch.state is not BatchState.ISSUED or (self.stop is not None and self.stop.is_set()):
                    result.unfinished.append(batch.number)
                else:
                    self._one(batch, result)
        return result

    def _batches(self, key_id: str) -> Iterator[Batch]:
        after = 0
        while True:
            with transaction(self.engine) as connection:
                chunk = batches.signed_with(connection, key_id, after, _MANY)
            if not chunk:
                return
            yield from chunk
            after = chunk[-1].number

    def _one(self, batch: Batch, result: ArchiveReport) -> None:
        try:
            if not self._is_kept(batch) and not self._sign_again(batch):
                result.unfinished.append(batch.number)  # stopped
                return
            result.archived.append(batch.number)
        except ZpError as error:
            if batch.file_removed_at is not None or not self._file_is_there(batch):
                result.refused[batch.number] = error.text
                return
            result.as_files.append(batch.number)
        result.codes += batch.codes

    def _is_kept(self, batch: Batch) -> bool:
        """Whether the signatures are kept and undamaged."""
        with disk_errors(self.folder.path):
            try:
                recorded = batch.signatures_sha256
                return bool(recorded) and signatures.digest(batch, self.folder) == recorded
            except (FileNotFoundError, DamagedFile):
                return False

    def _sign_again(self, batch: Batch) -> bool:
        """Keep the signatures of a batch; False when stopped. Raises ZpError if the key cannot repeat them."""
        if not self._gives_the_file(batch):
            if not self.signer.describe(batch.key_id).repeats:
                text = Text(
                    f"密钥 {batch.key_id} 的签名不可重现", f"the key {batch.key_id} does not repeat its signatures"
                )
                raise LostFile(text)
            if not self._replace(batch):
                return False
        self._record(batch, signatures.digest(batch, self.folder))
        return True

    def _replace(self, batch: Batch) -> bool:
        """Sign all codes and keep the signatures; what is there stays until these are verified. False when stopped."""
        path = self.folder.signatures(batch)
        with disk_errors(self.folder.path), replacing(path):
            chunk = code_file.CHUNK
            file = signatures.keep(batch, self.signer, self.folder, chunk, report=self.report, stop=self.stop)
            if file is not None and not self._gives_the_file(batch):
                path.unlink()
                zh = "用这些签名生成的文件与记录的摘要不符"
                raise LostFile(Text(zh, "the file with these signatures has another digest than recorded"))
        return file is not None

    def _gives_the_file(self, batch: Batch) -> bool:
        """Whether signatures are on disk, recorded or not, and the file that they give is the issued one."""
        if not signatures.are_kept(batch, self.folder):
            return False
        try:
            return code_file.rebuilt_digest(batch, self.folder) == batch.sha256
        except Unavailable:  # damaged
            return False

    def _record(self, batch: Batch, sha256: str) -> None:
        where, detail = f"batch:{batch.number}", {"signatures_sha256": sha256}
        with transaction(self.engine) as connection:
            audit.append(
                connection, at=self.now, actor=self.actor, action="batch.archive", object_=where, detail=detail
            )
            batches.change(connection, batch.number, signatures_sha256=sha256)

    def _file_is_there(self, batch: Batch) -> bool:
        try:
            return code_file.verify(batch, self.folder)
        except ZpError:
            return False
