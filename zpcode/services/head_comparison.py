"""The countersigned heads of the audit chain, compared with the entries of the database.

The heads come from the file of the worker and from the signer's own log. Whoever owns the database and the file can have a fork
countersigned at a higher id and put it into the file; the log of the signer still has every head of before. Memory is bounded: the
heads are read and compared in pieces, and only a head that contradicts an entry has the signature that it has in the log verified.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from keys.audit_head import SignedHead, head_from
from keys.client import SigningService
from keys.document import KeyState
from keys.keyring import Keyring, SealVerdict
from keys.log.chain import LogFault
from keys.log.reader import LogReading, chunks_of
from zpcode.errors import KeyringError, SignerError, Text, Unavailable
from zpcode.rules.audit import ChainCheck, Contradiction, contradiction
from zpcode.services.audit_heads import HeadFile

MAX_CONTRADICTIONS: Final = 1000
"""Further contradictions are neither verified nor reported."""
_PIECE: Final = 2000

StoredHashes = Callable[[Sequence[int]], Mapping[int, bytes]]
"""The hashes of the audit entries with these ids, as far as they exist."""


@dataclass(slots=True)
class HeadReport:
    """What the countersigned heads say about a chain.

    `contradicted` has at most 1000 entries. `newest` is the head with the highest id. `unsigned` counts lines that the signer has not
    signed or that cannot be read, `revoked` heads under a revoked key: neither proves anything. `problems` says what could not be
    read. `log_lines` is the number of lines of the signer's log, `log_fault` the first of them that was changed, removed or inserted,
    and `log_continues` is True if it continues a file that was not given.
    """

    contradicted: list[Contradiction] = field(default_factory=list)
    newest: SignedHead | None = None
    unsigned: int = 0
    revoked: int = 0
    problems: list[Text] = field(default_factory=list)
    log_lines: int = 0
    log_fault: LogFault | None = None
    log_continues: bool = False

    def cover(self, head: SignedHead) -> None:
        """Take a head whose signature is valid for the newest if it is."""
        if self.newest is None or (head.id, head.at) > (self.newest.id, self.newest.at):
            self.newest = head


class CountersignedHeads:
    """The heads as they were when this was made, to be compared once with a later snapshot of the database.

    `older_logs` are files of the signer's log that were rotated away, oldest first. What cannot be read becomes a problem in the
    report; the rest is compared all the same. Making this raises none of that.
    """

    def __init__(
        self, file: HeadFile, signer: SigningService, keyring: Keyring, older_logs: Sequence[Path] = ()
    ) -> None:
        self._keyring, self._report = keyring, HeadReport()
        self._lines = file.lines()
        older = chunks_of(older_logs)
        try:
            self._log = signer.read_log(after=older)
        except SignerError as error:
            self._report.problems.append(error.text)
            self._log = LogReading(older)

    def compare(self, chain: ChainCheck, stored: StoredHashes) -> HeadReport:
        """Compare all heads with the entries. `chain` is the check of the same snapshot that `stored` reads."""
        self._compare(self._readable(self._of_file()), chain, stored, _always)
        self._compare(self._readable(self._of_log()), chain, stored, self._genuine)
        self._cover_by_log()
        return self._report

    def _readable(self, heads: Iterator[SignedHead]) -> Iterator[SignedHead]:
        """The heads up to the first that cannot be read, which is noted as a problem."""
        try:
            yield from heads
        except (KeyringError, SignerError, Unavailable) as error:
            self._report.problems.append(error.text)

    def _compare(
        self,
        heads: Iterator[SignedHead],
        chain: ChainCheck,
        stored: StoredHashes,
        genuine: Callable[[SignedHead], bool],
    ) -> None:
        contradicted = self._report.contradicted
        known = {one.id for one in contradicted}
        while piece := list(islice(heads, _PIECE)):
            hashes = stored([head.id for head in piece])
            for head in piece:
                wrong = contradiction(chain, head.id, head.hash, hashes.get(head.id))
                if wrong and head.id not in known and len(contradicted) < MAX_CONTRADICTIONS and genuine(head):
                    known.add(head.id)
                    contradicted.append(wrong)

    def _of_file(self) -> Iterator[SignedHead]:
        """The heads of the file whose signature is valid."""
        for head in _changes(self._parsed()):
            if self._genuine(head):
                self._report.cover(head)
                yield head

    def _parsed(self) -> Iterator[SignedHead]:
        for line in self._lines:
            try:
                yield head_from(json.loads(line))
            except ValueError:
                self._report.unsigned += 1

    def _of_log(self) -> Iterator[SignedHead]:
        """The heads of the signer's log that are not under a revoked key. Their signatures are not verified yet."""
        revoked = {key.id for key in self._keyring if key.state is KeyState.REVOKED}
        for head in _changes(line.head for line in self._log):
            if head.key_id in revoked:
                self._report.revoked += 1
            else:
                yield head

    def _cover_by_log(self) -> None:
        report, read = self._report, self._log.chain
        report.log_lines, report.log_fault, report.log_continues = read.lines, read.fault, self._log.continues
        head = read.tail.head
        if head is not None and self._keyring.verify_head(head) is SealVerdict.VALID:
            self._report.cover(head)

    def _genuine(self, head: SignedHead) -> bool:
        verdict = self._keyring.verify_head(head)
        if verdict is SealVerdict.REVOKED:
            self._report.revoked += 1
        elif verdict is not SealVerdict.VALID:
            self._report.unsigned += 1
        return verdict is SealVerdict.VALID


def _always(_: SignedHead) -> bool:
    return True


def _changes(heads: Iterable[SignedHead | None]) -> Iterator[SignedHead]:
    """The heads without those that the next one repeats (same id and hash)."""
    last: SignedHead | None = None
    for head in heads:
        if head is None:
            continue
        if last is not None and (last.id, last.hash) != (head.id, head.hash):
            yield last
        last = head
    if last is not None:
        yield last
