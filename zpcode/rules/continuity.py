"""High-water marks: how far a database has come, what others have from it, and whether it is behind them.

A database that is restored from a backup is older than what it once gave away: cards in Redis, code files, signatures,
countersigned heads of the audit log. Each of these is a *witness*. A witness that has more than the database proves that
the database went back. Batch numbers, revisions and numbers of audit entries are then about to be used twice, and lost
decisions about to be forgotten (docs/recovery.md).

A database is never behind a witness by itself: a witness is written after the commit, and its marks are read before those
of the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from zpcode.errors import Text

COUNTERS: Final = ("revision", "batch", "decision", "event", "complaint", "step")
"""The marks that are counters, except that of the audit log."""


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
    `file` (a code file of a batch that the database does not have), `installation` (Redis belongs to another database), or
    `restored` (`zpcode restore-backup` made this database: it is behind even if nobody is left who knows more).
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
    "heads": Text("已会签的日志头", "countersigned heads of the audit log"),
    "restore": Text("恢复命令", "zpcode restore-backup"),
    "process": Text("本进程的记忆", "this process's memory"),
}
_WORDS: Final = {
    "revision": ("卡片修订到 {value}，数据库只到 {database}", "has revision {value} of the cards, the database only {database}"),
    "batch": ("批次序号到 {value}，数据库只发放到 {database}", "has batch number {value}, the database assigned only up to {database}"),
    "decision": ("决定到第 {value} 项，数据库只到 {database}", "has decision {value}, the database only up to {database}"),
    "event": ("历程事件到第 {value} 项，数据库只到 {database}", "has journey event {value}, the database only up to {database}"),
    "complaint": ("投诉到第 {value} 件，数据库只到 {database}", "has complaint {value}, the database only up to {database}"),
    "step": ("投诉处理到第 {value} 步，数据库只到 {database}", "has step {value} of complaints, the database only up to {database}"),
    "audit": ("审计日志到第 {value} 条，数据库只到 {database}", "has entry {value} of the audit log, the database only up to {database}"),
    "audit_hash": ("审计日志第 {value} 条与数据库的不同", "has another entry {value} of the audit log than the database"),
    "recoveries": ("已恢复 {value} 次，数据库只记得 {database} 次", "has {value} recoveries, the database only {database}"),
    "file": ("有批次 {value} 的文件，数据库没有此批次", "there is a file of batch {value}, which the database does not have"),
    "restored": ("数据库由备份恢复到 {value}，其后的一切都已丢失", "this database was restored up to {value}; what came later is lost"),
    "installation": ("属于另一个安装 {value}，不是 {database}", "belongs to another installation, {value}, not to {database}"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatabaseMarks:
    """The marks of a database.

    `reached` are its marks as committed rows have them: what a witness may be given. `assigned` are the highest numbers
    that are never assigned again, from the sequences; never below `reached`. `hashes` are the hashes of the audit entries
    that were asked for, by number. `recovered` are the marks of each witness that a recovery took in, by the recovery's number.
    `evidence` was recorded when a process found this database behind; it stays until the recovery.
    """

    reached: Marks
    assigned: Marks
    hashes: Mapping[int, str] = field(default_factory=dict)
    recovered: Mapping[int, Mapping[str, Marks]] = field(default_factory=dict)
    evidence: tuple[BehindEvidence, ...] = ()


def behind(witness: str, marks: Marks, database: DatabaseMarks) -> list[BehindEvidence]:
    """In which marks the database is behind a witness. `database.hashes` was asked for `marks.audit`."""
    ours = database.assigned
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


def _taken_in(witness: str, marks: Marks, database: DatabaseMarks) -> bool:
    """Whether a recovery since these marks has taken in all that the witness had."""
    later = (
        taken[witness] for number, taken in database.recovered.items() if number > marks.recoveries and witness in taken
    )
    return any(marks.audit <= one.audit and marks.revision <= one.revision for one in later)


def files_without_batch(numbers: Collection[int], existing: Collection[int]) -> list[BehindEvidence]:
    """Code files of batches that the database does not have. `existing` includes the batches known as lost."""
    return [BehindEvidence("files", "file", str(number), "") for number in sorted(set(numbers) - set(existing))]


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
