"""Compare the records of the registry, and what recoveries have left, with their digests in the audit log."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from zpcode.errors import Text
from zpcode.rules.record_digest import RecordMismatch
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant
from zpcode.services.records import kinds
from zpcode.services.records.comparison import compare
from zpcode.services.records.kinds import RecordKind
from zpcode.store import record_log
from zpcode.store.monitoring import integrity

REGISTRY: Final = Invariant(
    "registry-records",
    Text(
        "登记册的每条记录（企业、标准、机构、证书、产品、认定）都与审计日志中的摘要相符",
        "each record of the registry (enterprises, standards, bodies, certificates, products, recognitions) has the digest that"
        " the audit log has of it",
    ),
    Text(
        "有人绕过服务改动了登记册：zpcode audit show --record 记录 查看何人何时登记；核实后重新导入登记文件（给出全部列），或从备份恢复该行；"
        "在此之前不会据此重写产品卡片",
        "somebody changed the registry past the service: zpcode audit show --record NAME shows who entered the record and when; make"
        " sure of the facts, then import the registry file again with all columns, or restore the row from a backup; until then no"
        " product card is derived from it",
    ),
)
RECOVERIES: Final = Invariant(
    "recovery-records",
    Text(
        "每次恢复在审计日志中都有条目；恢复时保留的卡片、丢失的批次与待确认的决定都与审计日志相符",
        "each recovery has its entry in the audit log; kept cards, lost batches and held decisions of recoveries are as there",
    ),
    Text(
        "有人绕过服务改动了恢复的记录：zpcode audit show --record 记录；从备份恢复该行",
        "somebody changed what a recovery recorded past the service: zpcode audit show --record NAME; restore the row from a backup",
    ),
)
UNCOVERED: Final = Text(
    "这些记录早于摘要，尚未纳入审计日志：核实后执行 zpcode audit adopt",
    "these records are older than the digests: make sure of them, then enter them into the audit log with zpcode audit adopt",
)
_KINDS: Final = {
    "altered": ("与审计日志不符", "it differs from the audit log"),
    "unlogged": ("不在审计日志里", "the audit log does not have it"),
    "missing": ("已不在数据库中", "it is gone from the database"),
}
_ASTRAY: Final = {
    "uncounted": ("大于已记的恢复次数", "its number is above the count of recoveries"),
    "shared": ("与另一次恢复共用审计日志的条目", "shares its entry of the audit log with another recovery"),
    "no-recovery": ("审计日志的对应条目不是恢复", "its entry of the audit log is no recovery"),
}


def registry(context: CheckContext, outcome: CheckResult) -> None:
    """Compare every record of the registry."""
    _compare(context, outcome, kinds.REGISTRY)


def recoveries(context: CheckContext, outcome: CheckResult) -> None:
    """Compare the recoveries with the audit log, and what they have left for later."""
    with integrity.snapshot(context.engine) as connection:
        outcome.examined += integrity.count_recoveries(connection)
        for number, reason in integrity.recoveries_astray(connection, SHOWN + 1):
            outcome.find(reason, *_ASTRAY[reason], where=f"recovery:{number}")
    _compare(context, outcome, kinds.RECOVERY)


def _compare(context: CheckContext, outcome: CheckResult, compared: Collection[RecordKind]) -> None:
    with integrity.snapshot(context.engine) as connection:
        findings = RecordFindings(outcome, covered=record_log.is_covered(connection))
        for kind in compared:
            for page in compare(connection, kind, covered=findings.covered):
                outcome.examined += len(page.names)
                findings.add(page.wrong)
    findings.end()


@dataclass(slots=True)
class RecordFindings:
    """The findings of one check about records that differ from the log. `covered`: each record needs a digest.

    Records without a first digest are one finding, with the remedy to adopt them.
    """

    outcome: CheckResult
    covered: bool
    _uncovered: int = 0

    def add(self, wrong: Iterable[RecordMismatch]) -> None:
        """Add a finding for each of these records."""
        for one in wrong:
            if not one.is_alarming:
                self._uncovered += 1
                continue
            zh, en = _KINDS[one.kind]
            if (entry := one.logged) is not None:
                zh = f"{zh}：第 {entry.entry} 条（{entry.action}，{entry.actor}）"
                en = f"{en}: entry {entry.entry} ({entry.action} by {entry.actor})"
            self.outcome.find(one.kind, zh, en, where=one.name)

    def end(self) -> None:
        """Add the finding about records without a first digest, after all others."""
        if self._uncovered:
            zh, en = f"有 {self._uncovered} 条记录尚未纳入审计日志", f"{self._uncovered} records are not yet covered"
            self.outcome.advice = None if self.outcome.wrong else UNCOVERED
            self.outcome.find("uncovered", zh, en)
