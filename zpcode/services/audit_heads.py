"""Countersigned heads of the audit chain: kept where the database cannot reach, and read back to check the chain.

The chain has no key: who owns the database can write all of it again. The signer countersigns its head (`keys.audit_head`) and
refuses a head that contradicts an earlier one. The heads are kept in the signer's log and in a file of the worker.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keys.audit_head import SignedHead, head_fields, head_from
from keys.client import SigningService
from keys.keyring import Keyring, SealVerdict
from zpcode.errors import SignerError, SignerUnavailable, Text, Unavailable
from zpcode.store import audit
from zpcode.store.database.session import Engine, transaction

COUNTERSIGN_SECONDS: Final = 60.0
"""A head that has not moved is countersigned again after this time: the log was still the same then."""


class HeadFile:
    """The file of countersigned heads: one line of JSON each, mode 0600, only appended to. Several processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, head: SignedHead) -> None:
        """Write one head. It is on disk when this returns. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(head_fields(head), separators=(",", ":")).encode("ascii") + b"\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, (b"" if _ends_a_line(descriptor) else b"\n") + line)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[bytes]:
        """The lines of the file; none if there is no file. Raises OSError."""
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    yield line.rstrip(b"\n")


def _ends_a_line(descriptor: int) -> bool:
    """Whether the file is empty or ends a line: a power failure may have torn its last one."""
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


@dataclass(slots=True)
class CountersignedHeads:
    """The heads that the signer has signed: `by_id` has each entry's hash, `newest` the head with the highest id.

    `unsigned` counts lines that the signer has not signed or that cannot be read, `revoked` heads under a revoked key: neither
    proves anything. `forked` has the ids with two signed hashes. `silent` says why the signer was not asked.
    """

    by_id: dict[int, bytes] = field(default_factory=dict)
    newest: SignedHead | None = None
    unsigned: int = 0
    revoked: int = 0
    forked: list[int] = field(default_factory=list)
    silent: Text | None = None

    def add(self, head: SignedHead) -> None:
        """Add a head whose signature is valid."""
        if self.by_id.setdefault(head.id, head.hash) != head.hash:
            self.forked.append(head.id)
        if self.newest is None or (head.id, head.at) > (self.newest.id, self.newest.at):
            self.newest = head


def read_heads(file: HeadFile, signer: SigningService, keyring: Keyring) -> CountersignedHeads:
    """All heads of the file, and the newest that the signer remembers. Raises Unavailable if the file cannot be read.

    Of heads that follow each other with the same entry only the last one's signature is verified.
    """
    heads = CountersignedHeads()
    try:
        for head in _changes(file, heads):
            _verify(heads, head, keyring)
    except OSError as error:
        path = file.path
        raise Unavailable(
            Text(f"无法读取 {path}（{error.strerror}）", f"cannot read {path} ({error.strerror})")
        ) from error
    try:
        newest = signer.high_water().head
    except SignerError as error:
        heads.silent = error.text
    else:
        if newest is not None:
            _verify(heads, newest, keyring)
    return heads


def _changes(file: HeadFile, heads: CountersignedHeads) -> Iterator[SignedHead]:
    last: SignedHead | None = None
    for line in file.lines():
        try:
            head = head_from(json.loads(line))
        except ValueError:
            heads.unsigned += 1
            continue
        if last is not None and (last.id, last.hash) != (head.id, head.hash):
            yield last
        last = head
    if last is not None:
        yield last


def _verify(heads: CountersignedHeads, head: SignedHead, keyring: Keyring) -> None:
    verdict = keyring.verify_head(head)
    if verdict is SealVerdict.VALID:
        heads.add(head)
    elif verdict is SealVerdict.REVOKED:
        heads.revoked += 1
    else:
        heads.unsigned += 1


class Countersigner:
    """Lets the signer countersign the head of the audit chain: when it has moved, and at least every minute.

    `clock` gives monotonic seconds.
    """

    def __init__(
        self, engine: Engine, signer: SigningService, file: HeadFile, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine, self._signer, self._file, self._clock = engine, signer, file, clock
        self._done: tuple[int, bytes] | None = None
        self._done_at = float("-inf")

    def step(self) -> SignedHead | None:
        """Countersign the head if that is due. Raises Unavailable: a part does not answer, or the signer refuses.

        A refusal says that the chain contradicts an earlier head: it was cut or written again, or the database was restored.
        """
        with transaction(self._engine) as connection:
            head = audit.head(connection)
        if head is None or (head == self._done and self._clock() - self._done_at < COUNTERSIGN_SECONDS):
            return None
        signed = self._signed(head)
        if signed is None:
            return None
        try:
            self._file.append(signed)
        except OSError as error:
            path = self._file.path
            zh, en = f"无法写入 {path}（{error.strerror}）", f"cannot write {path} ({error.strerror})"
            raise Unavailable(Text(zh, en)) from error
        self._done, self._done_at = head, self._clock()
        return signed

    def _signed(self, head: tuple[int, bytes]) -> SignedHead | None:
        try:
            return self._signer.countersign(*head)
        except SignerError as error:
            if not isinstance(error, SignerUnavailable) and self._overtaken(head[0]):
                return None
            raise Unavailable(error.text) from error

    def _overtaken(self, entry: int) -> bool:
        """Whether another worker has countersigned a later entry of the same chain meanwhile."""
        try:
            newest = self._signer.high_water().head
        except SignerError:
            return False
        if newest is None or newest.id <= entry:
            return False
        with transaction(self._engine) as connection:
            return audit.hash_at(connection, newest.id) == newest.hash
