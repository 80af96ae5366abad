"""Check the audit log: its hash chain, and that it has every decision word for word."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Any, Final

from keys.log.chain import LogFault
from zpcode.errors import Text, ZpError
from zpcode.rules import access_log
from zpcode.rules.audit import Entry
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import audit_detail
from zpcode.services import audit
from zpcode.services.audit import Verification
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import access, status
from zpcode.store import audit as log
from zpcode.store.monitoring import integrity

CHAIN: Final = Invariant(
    "audit-chain",
    Text(
        "审计日志的哈希链完整，且与会签相符",
        "the hash chain of the audit log is intact and agrees with its countersignatures",
    ),
    Text(
        "有人改动过日志，或后台进程不再会签：请保全数据库、备份、签名日志与 audit-heads.jsonl（docs/status.md）",
        "somebody has altered the log, or no worker has it countersigned: secure the database, its backups, the signing log and"
        " audit-heads.jsonl (docs/status.md)",
    ),
)
KEYS: Final = Invariant(
    "api-keys",
    Text("每个访问密钥都与审计日志相符", "each API key is in the audit log as it is stored"),
    Text(
        "有人绕过服务改动了密钥：请立即撤销（zpcode access revoke ID），并查明谁能写数据库",
        "somebody has changed keys past the service: revoke them now (zpcode access revoke ID), and find out who can write to the"
        " database",
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
UNCOVERED_AFTER: Final = timedelta(minutes=10)
KEY_FINDINGS: Final = {
    "unlogged": ("审计日志中没有创建记录", "the audit log has no entry that creates it"),
    "altered": ("与创建时的记录不符", "it differs from the entry that creates it"),
    "missing": ("已不在数据库中", "it is gone from the database"),
    "revived": ("已撤销，又被改回有效", "it was revoked, and is valid again"),
    "unlogged revocation": ("撤销与审计日志不符", "its revocation is not in the audit log"),
}
_FINDINGS: Final = {
    "gap": ("此处缺一条", "the entry is missing"),
    "previous": ("与前一条不相连", "it does not follow the entry before it"),
    "hash": ("内容被改动", "it was altered"),
    "rewritten": ("与会签的哈希不同：日志被改写", "its hash is not the countersigned one: the log was written again"),
    "cut": ("已会签，但日志中没有：末尾被删去", "it was countersigned and is not in the log: the end was removed"),
}
_CHUNK: Final = 500


def chain(context: CheckContext, outcome: CheckResult) -> None:
    """Check the whole chain against itself and against the countersigned heads."""
    heads = None
    try:
        heads = context.heads() if context.heads else heads
    except ZpError as error:
        outcome.obstacle = error.text
    verification = audit.verify(context.engine, heads=heads)
    outcome.examined = verification.chain.count
    if (broken := verification.chain.broken) is not None:
        _find(outcome, broken.kind, broken.id)
    for contradiction in verification.heads.contradicted:
        _find(outcome, contradiction.kind, contradiction.id)
    if heads is not None:
        _covered(context, outcome, verification)


def _find(outcome: CheckResult, kind: str, number: int) -> None:
    zh, en = _FINDINGS[kind]
    outcome.find(kind, zh, en, where=f"audit:{number}")


def signing_log_fault(fault: LogFault) -> Text:
    """What is wrong with the signer's log."""
    return Text(
        f"签名日志第 {fault.line} 行被改动、删去或插入（{fault.kind}）",
        f"line {fault.line} of the signing log was changed, removed or inserted ({fault.kind})",
    )


def _covered(context: CheckContext, outcome: CheckResult, verification: Verification) -> None:
    """Check that the heads are the signer's and could be read, that its log is whole, and that old entries are covered by a head."""
    heads = verification.heads
    if (fault := heads.log_fault) is not None:
        text = signing_log_fault(fault)
        outcome.find("signing-log", text.zh, text.en, where=f"signer:{fault.line}")
    if heads.unsigned:
        outcome.find(
            "unsigned",
            f"会签文件中有 {heads.unsigned} 行不是签名服务会签的",
            f"{heads.unsigned} lines are not signed by the signer",
        )
    if heads.problems:
        outcome.obstacle = heads.problems[0]
        if heads.newest is None:
            return
    newest, at = 0 if heads.newest is None else heads.newest.id, verification.newest_at
    if at is not None and verification.chain.last > newest and context.now - at > UNCOVERED_AFTER:
        outcome.find(
            "uncovered",
            f"第 {newest} 条之后没有会签",
            f"no countersignature covers the entries after {newest}",
            where=f"audit:{verification.chain.last}",
        )


def keys(context: CheckContext, outcome: CheckResult) -> None:
    """Check that each API key is in the audit log as it is stored, and that no key was lost."""
    with integrity.snapshot(context.engine) as connection:
        stored = access.every(connection)
        outcome.examined = len(stored)
        wrong = access_log.mismatches(stored, log.of_actions(connection, access_log.ACTIONS))
    for mismatch in wrong:
        zh, en = KEY_FINDINGS[mismatch.kind]
        outcome.find(mismatch.kind, zh, en, where=f"api-key:{mismatch.key_id}")


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
