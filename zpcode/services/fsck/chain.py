"""Check the audit log: its hash chain, and that it has every decision word for word."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from zpcode.errors import Text
from zpcode.rules.audit import Entry
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import audit_detail
from zpcode.services import audit
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import status
from zpcode.store.monitoring import integrity

CHAIN: Final = Invariant(
    "audit-chain",
    Text("审计日志的哈希链完整", "the hash chain of the audit log is intact"),
    Text(
        "有人改动过日志：请保全数据库与备份，并与另处记下的条数和末条哈希比对（zpcode audit verify --expect-head）",
        "somebody has altered the log: secure the database and its backups, and compare with the count and the head that were"
        " recorded outside (zpcode audit verify --expect-head)",
    ),
)
DECISIONS: Final = Invariant(
    "decisions",
    Text("每项状态决定都与审计日志逐字相符", "each decision about a status is in the audit log word for word"),
    Text(
        "以审计日志为准：zpcode audit show --object 范围:对象；从备份恢复被改动的决定",
        "the audit log is authoritative: zpcode audit show --object SCOPE:TARGET; restore the altered decision from a backup",
    ),
)
_CHUNK: Final = 500


def chain(context: CheckContext, outcome: CheckResult) -> None:
    """Check the whole chain. Entries removed from its end are only noticed with a count or hash recorded outside."""
    verification = audit.verify(context.engine)
    outcome.examined = verification.count
    if verification.broken is not None:
        zh, en = {
            "gap": ("此处缺一条", "the entry is missing"),
            "previous": ("与前一条不相连", "it does not follow the entry before it"),
            "hash": ("内容被改动", "it was altered"),
        }[verification.broken.kind]
        outcome.find(verification.broken.kind, zh, en, where=f"audit:{verification.broken.id}")


def decisions(context: CheckContext, outcome: CheckResult) -> None:
    """Check that each decision has its entry with the same content, and that there are no other entries."""
    with integrity.snapshot(context.engine) as connection:
        decisions = status.every(connection)
        while chunk := list(islice(decisions, _CHUNK)):
            outcome.examined += len(chunk)
            by_decision = {entry.detail.get("change"): entry for entry in _entries(connection, chunk)}
            for one in chunk:
                _compare(outcome, one, by_decision.get(one.id))
        entries = integrity.count_audit_entries(connection, "status.")
    if entries != outcome.examined:
        outcome.find(
            "count",
            f"决定 {outcome.examined} 项，审计日志中 {entries} 条",
            f"{outcome.examined} decisions, but {entries} entries in the audit log",
        )


def _entries(connection: Any, chunk: list[StatusChange]) -> list[Entry]:
    objects = sorted({f"{one.scope}:{one.target}" for one in chunk})
    return integrity.audit_entries(connection, objects, sorted({f"status.{one.action}" for one in chunk}))


def _compare(outcome: CheckResult, decision: StatusChange, entry: Entry | None) -> None:
    where = f"{decision.scope}:{decision.target} #{decision.id}"
    if entry is None:
        outcome.find("unlogged", "这项决定不在审计日志里", "this decision is not in the audit log", where=where)
        return
    detail = audit_detail(decision)
    differing = [name for name, value in detail.items() if entry.detail.get(name) != value]
    if entry.at != decision.created_at:
        differing.append("created_at")
    if differing:
        names = ", ".join(differing)
        outcome.find(
            "altered",
            f"与审计日志第 {entry.id} 条不符：{names}",
            f"differs from entry {entry.id} of the audit log in {names}",
            where=where,
        )
