"""Countersigned heads of the audit chain: kept where the database cannot reach.

The chain has no key: who owns the database can write all of it again. The signer countersigns its head (`keys.audit_head`) and
refuses a head that contradicts an earlier one. The heads are kept in the signer's log and in a file of the worker, and
`services.head_comparison` compares them with the database.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from keys.audit_head import SignedHead, head_fields
from keys.client import SigningService
from zpcode.errors import SignerError, SignerUnavailable, Text, Unavailable
from zpcode.regular_files import open_own, own_file
from zpcode.store import audit
from zpcode.store.database.session import Engine, transaction

COUNTERSIGN_SECONDS: Final = 60.0
"""A head that has not moved is countersigned again after this time: the log was still the same then."""
_LONGEST_LINE: Final = 64 * 1024


class HeadFile:
    """The file of countersigned heads: one line of JSON each, mode 0600, only appended to. Several processes may append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, head: SignedHead) -> None:
        """Write one head. It is on disk when this returns. Raises Unavailable."""
        line = json.dumps(head_fields(head), separators=(",", ":")).encode("ascii") + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, line)
        except OSError as error:
            raise self._unavailable("写入", "write", error) from error

    def lines(self) -> Iterator[bytes]:
        """The lines that the file has now; none if there is no file. Reading them raises Unavailable.

        A line above 64 KiB comes in pieces.
        """
        try:
            return self._lines(self.path.stat().st_size)
        except FileNotFoundError:
            return iter(())
        except OSError:
            return self._lines(0)  # opening it says why

    def _lines(self, left: int) -> Iterator[bytes]:
        try:
            with own_file(self.path) as file:
                while line := file.readline(min(left, _LONGEST_LINE)):
                    left -= len(line)
                    yield line.rstrip(b"\n")
        except OSError as error:
            raise self._unavailable("读取", "read", error) from error

    def _unavailable(self, zh: str, en: str, error: OSError) -> Unavailable:
        why = error.strerror
        return Unavailable(Text(f"无法{zh} {self.path}（{why}）", f"cannot {en} {self.path} ({why})"))


def _append(path: Path, line: bytes) -> None:
    descriptor = open_own(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, (b"" if _ends_a_line(descriptor) else b"\n") + line)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _ends_a_line(descriptor: int) -> bool:
    """Whether the file is empty or ends a line: a power failure may have torn its last one."""
    size = os.fstat(descriptor).st_size
    return size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"


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
        self._file.append(signed)
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
