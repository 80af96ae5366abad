"""High-water marks: how far a database has come, what others have from it, and whether it is behind them.

A database that is restored from a backup is older than what it once gave away: cards in Redis, code files, signatures,
countersigned heads of the audit log. Each of these is a *witness*. A witness that has more than the database proves that
the database went back. Batch numbers, revisions and numbers of audit entries are then about to be used twice, and lost
decisions about to be forgotten (docs/recovery.md).

A database is never behind a witness by itself: a witness is written after the commit, and its marks are read before those
of the database.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from zpcode.errors import Text
from zpcode.wire.payload import MAX_BATCH

COUNTERS: Final = ("revision", "batch", "decision", "event", "complaint", "step")
"""The marks that are counters, except that of the audit log."""
HIGHEST_MARK: Final = 2**53 - 1
"""No mark is higher: JSON and Lua have no exact integers beyond it. Batch numbers end earlier, at `MAX_BATCH`."""
REACH: Final = 2**40
"""A mark that is further above that of the database is damaged: no database makes so many numbers after its backup."""
REACH_NUMBERS: Final = 10**8
"""The same for what a sequence counts. A recovery draws all these numbers, a million in less than a second."""
REACH_RECOVERIES: Final = 1000
"""The same for the number of recoveries."""
_REACHES: Final = {"recoveries": REACH_RECOVERIES, "revision": REACH}
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_INSTALLATION_LENGTH: Final = 64
_VALUE_LENGTH: Final = 40


class Marks(msgspec.Struct, frozen=True, omit_defaults=True):
    """High-water marks: the highest number of each kind; 0 where there is none.

    `installation` is the random id that a database gets with its schema; empty if a witness does not know it.
    `recoveries` counts the recoveries (`zpcode recover`) of the database. `revision` is that of the newest card, `batch` a
    batch number, `decision` of `status_change`, `event` of `trace_event`, `complaint` and `step` of complaints and their
    steps. `audit` is the newest entry of the audit log and `audit_hash` its hash (64 hex digits).
    """

    installation: str = ""
    recoveries: int = 0
    revision: int = 0
    batch: int = 0
    decision: int = 0
    event: int = 0
    complaint: int = 0
    step: int = 0
    audit: int = 0
    audit_hash: str = ""


class BehindEvidence(msgspec.Struct, frozen=True):
    """One proof that the database is behind: `kind` of mark, the witness's value and the database's.

    `kind` is a counter of `Marks`, `audit` (a higher entry), `audit_hash` (another entry with this number), `recoveries`,
    `file` (a code file of a batch that the database does not have), `signed` (codes of such a batch were signed), `installation` (Redis belongs to another database),
    `restored` (`zpcode restore-backup` made this database: it is behind even if nobody is left who knows more), or `damaged`
    (a mark has a value that cannot be, or the record cannot be read: the witness proves nothing; never recorded in the database).
    """

    witness: str
    kind: str
    value: str
    database: str

    @property
    def text(self) -> Text:
        """The proof in words, for the operator."""
        zh, en = _WORDS[self.kind]
        who = _WITNESSES.get(self.witness, Text(self.witness, self.witness))
        values = {"value": self.value, "database": self.database}
        return Text(f"{who.zh}：{zh.format(**values)}", f"{who.en}: {en.format(**values)}")


_WITNESSES: Final = {
    "redis": Text("缓存", "Redis"),
    "files": Text("码文件", "code files"),
    "signer": Text("签名服务", "signer"),
    "heads": Text("已会签的审计链头", "countersigned heads of the audit log"),
    "restore": Text("zpcode restore-backup", "zpcode restore-backup"),
    "process": Text("本进程此前所读", "what this process has read before"),
}
_WORDS: Final = {
    "revision": ("卡片修订号到 {value}，数据库只到 {database}", "has revision {value} of the cards, the database only {database}"),
    "batch": ("批次序号到 {value}，数据库只发放到 {database}", "has batch number {value}, the database assigned only up to {database}"),
    "decision": ("决定到第 {value} 项，数据库只到 {database}", "has decision {value}, the database only up to {database}"),
    "event": ("历程事件到第 {value} 项，数据库只到 {database}", "has journey event {value}, the database only up to {database}"),
    "complaint": ("投诉到第 {value} 件，数据库只到 {database}", "has complaint {value}, the database only up to {database}"),
    "step": ("投诉处理到第 {value} 步，数据库只到 {database}", "has step {value} of complaints, the database only up to {database}"),
    "audit": ("审计日志到第 {value} 条，数据库只到 {database}", "has entry {value} of the audit log, the database only up to {database}"),
    "audit_hash": ("审计日志第 {value} 条与数据库的不同", "has another entry {value} of the audit log than the database"),
    "recoveries": ("记有 {value} 次恢复，数据库只记有 {database} 次", "has {value} recoveries, the database only {database}"),
    "file": ("有批次 {value} 的文件，数据库没有此批次", "there is a file of batch {value}, which the database does not have"),
    "signed": ("签发过批次 {value} 的码，数据库没有此批次", "has signed codes of batch {value}, which the database does not have"),
    "restored": ("数据库由备份恢复到 {value}，此后的数据已丢失", "this database was restored up to {value}; what came later is lost"),
    "damaged": ("记录已损坏：{value} 不是有效值，或无法读取", "its record is damaged: {value} cannot be right, or cannot be read"),
    "installation": ("属于另一套系统 {value}，而非 {database}", "belongs to another installation, {value}, not to {database}"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatabaseMarks:
    """The marks of a database.

    `reached` are its marks as committed rows have them: what a witness may be given. `assigned` are the highest numbers
    that are never assigned again, from the sequences; never below `reached`. `hashes` are the hashes of the audit entries
    that were asked for, by number. `recovered` are the marks of each witness that a recovery took in, by the recovery's number.
    `evidence` was recorded when a process found this database behind; it stays until the recovery. `doubted`: it is recorded
    that a witness disagrees. `head_key` is the fingerprint of the key under which every head is written; empty: some have no
    valid code (`zpcode.projection.head_keys`).
    """

    reached: Marks
    assigned: Marks
    hashes: Mapping[int, str] = field(default_factory=dict)
    recovered: Mapping[int, Mapping[str, Marks]] = field(default_factory=dict)
    evidence: tuple[BehindEvidence, ...] = ()
    doubted: bool = False
    head_key: str = ""


def behind(witness: str, marks: Marks, database: DatabaseMarks) -> list[BehindEvidence]:
    """In which marks the database is behind a witness. `database.hashes` was asked for `marks.audit`.

    Marks that cannot be are no evidence of any order: the only proof is then `damaged`, with the field and its value.
    """
    ours = database.assigned
    if damage := damaged_mark(marks, ours):
        return [BehindEvidence(witness, "damaged", damage, "")]
    if marks.installation and marks.installation != ours.installation:
        return [BehindEvidence(witness, "installation", marks.installation, ours.installation)]
    if marks.recoveries > ours.recoveries:
        return [BehindEvidence(witness, "recoveries", str(marks.recoveries), str(ours.recoveries))]
    proofs = [
        BehindEvidence(witness, kind, str(getattr(marks, kind)), str(getattr(ours, kind)))
        for kind in (*COUNTERS, "audit")
        if getattr(marks, kind) > getattr(ours, kind)
    ]
    forked = marks.audit_hash and marks.audit <= ours.audit and database.hashes.get(marks.audit) != marks.audit_hash
    if forked and not _taken_in(witness, marks, database):
        proofs.append(BehindEvidence(witness, "audit_hash", str(marks.audit), ""))
    return proofs


def unreadable(witness: str, damage: str) -> list[BehindEvidence]:
    """The evidence that a witness's record cannot be read; nothing where `damage` is empty. Nobody knows what it has said."""
    return [BehindEvidence(witness, "damaged", damage, "")] if damage else []


def damaged_mark(marks: Marks, ours: Marks) -> str:
    """The first mark whose value cannot be, as `field=value`, the value cut; empty if each can be. `ours`: of the database."""
    if len(marks.installation) > _INSTALLATION_LENGTH:
        return f"installation={marks.installation[:_VALUE_LENGTH]}"
    for kind in ("recoveries", *COUNTERS, "audit"):
        value, own = getattr(marks, kind), getattr(ours, kind)
        reach = _REACHES.get(kind, REACH_NUMBERS)
        if not 0 <= value <= min(MAX_BATCH if kind == "batch" else HIGHEST_MARK, own + reach):
            return f"{kind}={_cut(value)}"
    if marks.audit_hash and not _HASH.fullmatch(marks.audit_hash):
        return f"audit_hash={marks.audit_hash[:_VALUE_LENGTH]}"
    return ""


def _cut(value: int) -> str:
    """A number as text, cut where it has too many digits: Python refuses to write out the longest."""
    return str(value) if abs(value) < 10**_VALUE_LENGTH else f">1e{_VALUE_LENGTH}"


def recorded_marks(evidence: Sequence[BehindEvidence], ours: Marks) -> list[Marks]:
    """The marks that recorded evidence names; without those that cannot be, which an earlier version may have recorded."""
    marks = [
        msgspec.convert({one.kind: int(one.value)}, Marks)
        for one in evidence
        if one.kind in {*COUNTERS, "audit"} and one.value.isdecimal() and len(one.value) <= _VALUE_LENGTH
    ]
    return [one for one in marks if not damaged_mark(one, ours)]


def damaged(evidence: Sequence[BehindEvidence]) -> bool:
    """Whether the only evidence is that a witness's record is damaged: then nobody knows whether this database is behind."""
    return bool(evidence) and all(one.kind == "damaged" for one in evidence)


def _taken_in(witness: str, marks: Marks, database: DatabaseMarks) -> bool:
    """Whether a recovery since these marks has taken in all that the witness had."""
    later = (
        taken[witness] for number, taken in database.recovered.items() if number > marks.recoveries and witness in taken
    )
    return any(marks.audit <= one.audit and marks.revision <= one.revision for one in later)


def files_without_batch(numbers: Collection[int], existing: Collection[int]) -> list[BehindEvidence]:
    """Code files of batches that the database does not have. `existing` includes the batches known as lost."""
    return [BehindEvidence("files", "file", str(number), "") for number in sorted(set(numbers) - set(existing))]


def signed_without_batch(numbers: Collection[int], existing: Collection[int]) -> list[BehindEvidence]:
    """The highest signed batch number that the database does not have. `existing` includes the batches known as lost.

    A sequence may be ahead of its rows (after a crash up to 32 numbers), so the mark `batch` does not show every such number.
    """
    missing = set(numbers) - set(existing)
    return [BehindEvidence("signer", "signed", str(max(missing)), "")] if missing else []


def recorded_numbers(evidence: Sequence[BehindEvidence]) -> list[int]:
    """The batch numbers of code files and signed codes that recorded evidence names: the file may be gone since."""
    named = [one.value for one in evidence if one.kind in {"file", "signed"}]
    numbers = [int(value) for value in named if value.isdecimal() and len(value) <= _VALUE_LENGTH]
    return [number for number in numbers if 1 <= number <= MAX_BATCH]


def foreign(evidence: Sequence[BehindEvidence]) -> bool:
    """Whether the only evidence is that Redis belongs to another installation: then this database is not behind."""
    return bool(evidence) and all(one.kind == "installation" for one in evidence)


def highest(marks: Sequence[Marks]) -> Marks:
    """The highest of each mark; `installation` of the last."""
    if not marks:
        return Marks()
    newest = max(marks, key=lambda one: one.audit)
    counters = {kind: max(getattr(one, kind) for one in marks) for kind in COUNTERS}
    recoveries = max(one.recoveries for one in marks)
    return Marks(marks[-1].installation, recoveries, **counters, audit=newest.audit, audit_hash=newest.audit_hash)
