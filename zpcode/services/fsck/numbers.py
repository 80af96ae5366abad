"""Checks of the batch table: numbers, records by state, agreement with the audit log, quotas, idempotency keys."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, Final

from zpcode.errors import Text
from zpcode.exports.formats import EXPORTS, layout_of
from zpcode.rules.audit import Entry
from zpcode.rules.batches import log as batch_log
from zpcode.rules.batches.batch import MAX_QUANTITY, Activation, Batch, BatchState, record_name
from zpcode.rules.record_digest import ADOPT
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.records import RecordFindings
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant
from zpcode.services.records import kinds
from zpcode.services.records.comparison import compare
from zpcode.store import record_log
from zpcode.store.monitoring import integrity
from zpcode.wire.calendar import iso
from zpcode.wire.payload import MAX_BATCH, Level

NUMBERS: Final = Invariant(
    "batch-numbers",
    Text("批次号段互不重叠，且未超出范围", "number ranges of batches do not overlap and are within bounds"),
    Text(
        "批次序号决定序列号；请停止生成，把序列 batch_number 调到最大批次序号之后，并查明该行的来历",
        "a batch's number is the first part of its serials: stop issuing, set the sequence batch_number above the highest"
        " batch number, and find out where the row came from",
    ),
)
RECORDS: Final = Invariant(
    "batch-records",
    Text(
        "批次记录与其状态相符，文件大小与数量相符",
        "batch records agree with their state, and file sizes with quantities",
    ),
    Text(
        "与审计日志中该批次的条目比对，从备份恢复该行",
        "compare the row with the batch's entries in the audit log and restore it from a backup",
    ),
)
LOGGED: Final = Invariant(
    "batch-audit",
    Text(
        "每个批次的预留、生成、激活及其文件都与审计日志相符",
        "the audit log has each batch as it was reserved, issued and activated, and what became of its file",
    ),
    Text(
        "以审计日志为准：zpcode audit show --object batch:序号；从备份恢复被改动的行",
        "the audit log is right: zpcode audit show --object batch:N; restore the altered row from a backup",
    ),
)
QUOTAS: Final = Invariant(
    "quotas",
    Text("没有企业超出其单品码额度", "no enterprise has more item codes than its quota allows"),
    Text("查看该企业的批次：zpcode batches list", "check the batches of the enterprise: zpcode batches list"),
)
ORDERS: Final = Invariant(
    "orders",
    Text("每个幂等键恰好对应一个批次", "each idempotency key belongs to exactly one batch"),
    Text(
        "重复同一请求会得到 404 或别的批次；从备份恢复 idempotency 表的这一行",
        "repeating the request would give 404 or another batch: restore this row of the table idempotency from a backup",
    ),
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


def numbers(context: CheckContext, outcome: CheckResult) -> None:
    """Numbers within bounds. A serial is batch number and slot, and the number is the primary key: no two batches share one.

    A lost batch may have codes too, so no batch has its number.
    """
    with integrity.snapshot(context.engine) as connection:
        last = integrity.last_number(connection)
        _lost(outcome, integrity.lost_numbers_astray(connection, last, SHOWN + 1), last)
        for chunk in integrity.every_batch(connection):
            outcome.examined += len(chunk)
            for batch in chunk:
                where = f"batch:{batch.number}"
                if not 1 <= batch.number <= MAX_BATCH:
                    outcome.find(
                        "number",
                        "批次序号不在 1 至 67108863 之间",
                        "its number is not between 1 and 67108863",
                        where=where,
                    )
                if batch.number > last:
                    outcome.find(
                        "sequence",
                        f"批次序号大于已发放的最大序号 {last}，此序号会再次发放",
                        f"its number is above the last one assigned, {last}: it would be assigned again",
                        where=where,
                    )
                if not 1 <= batch.quantity <= MAX_QUANTITY:
                    outcome.find(
                        "quantity", "数量不在 1 至 10⁹ 之间", "its quantity is not between 1 and 10⁹", where=where
                    )


def _lost(outcome: CheckResult, astray: list[int], last: int) -> None:
    """Find the numbers of lost batches that a batch has, or that will be drawn."""
    for number in astray:
        if number > last:
            zh = f"记录已丢失的批次，其序号大于已发放的最大序号 {last}"
            en = f"its record is lost, and its number is above the last one assigned, {last}"
            outcome.find("sequence", zh, en, where=f"batch:{number}")
        else:
            zh, en = "批次存在，却又记为已丢失", "is a batch, and is recorded as a lost batch too"
            outcome.find("lost", zh, en, where=f"batch:{number}")


def records(context: CheckContext, outcome: CheckResult) -> None:
    """An issued batch has a time, the file size for its codes, and a key if it is sealed; a reserved one has none of these."""
    with integrity.snapshot(context.engine) as connection:
        for chunk in integrity.every_batch(connection):
            outcome.examined += len(chunk)
            for batch in chunk:
                _record(batch, outcome)


def _record(batch: Batch, outcome: CheckResult) -> None:
    where = f"batch:{batch.number}"
    if batch.state is BatchState.RESERVED:
        if batch.sha256 or batch.bytes or batch.issued_at or batch.activated_at:
            outcome.find(
                "reserved", "尚未生成，却已有文件或时间", "is not issued, but has a file or a time", where=where
            )
        return
    if not _SHA256.fullmatch(batch.sha256) or batch.issued_at is None:
        outcome.find("issued", "已生成，却没有摘要或时间", "is issued, but has no digest or no time", where=where)
    if batch.sealed != bool(batch.key_id):
        outcome.find(
            "key",
            "签名密钥与层级不符",
            "has no signing key, or has one although its level has none",
            where=where,
            value=batch.key_id,
        )
        return
    if batch.format not in EXPORTS:
        outcome.find(
            "format",
            "本版本的服务不支持此文件格式",
            "this version of the service does not have its file format",
            where=where,
            value=batch.format,
        )
    elif (layout := layout_of(batch)).exact and batch.bytes != layout.size:
        outcome.find(
            "bytes",
            f"{batch.codes} 个码的文件应为 {layout.size} 字节，记录为 {batch.bytes}",
            f"a file of {batch.codes} codes has {layout.size} bytes, but the record says {batch.bytes}",
            where=where,
        )
    if batch.activation is Activation.ON_ISSUE and batch.activated_at is None:
        outcome.find(
            "activation",
            "应随生成激活，却未激活",
            "should have been activated when it was issued, but is not active",
            where=where,
        )


def logged(context: CheckContext, outcome: CheckResult) -> None:
    """One entry for the reservation and one for the issue with the values of the row; all later changes; and the digests."""
    with integrity.snapshot(context.engine) as connection:
        for chunk in integrity.every_batch(connection):
            outcome.examined += len(chunk)
            objects = [record_name(batch.number) for batch in chunk]
            entries: defaultdict[str, list[Entry]] = defaultdict(list)
            for entry in integrity.audit_entries(connection, objects, batch_log.ACTIONS):
                entries[entry.object].append(entry)
            for batch in chunk:
                _in_log(outcome, batch, entries[record_name(batch.number)])
        findings = RecordFindings(outcome, covered=record_log.is_covered(connection))
        for page in compare(connection, kinds.BATCH, covered=findings.covered):
            findings.add(page.wrong)
    findings.end()


def _in_log(outcome: CheckResult, batch: Batch, entries: list[Entry]) -> None:
    """Compare a batch with its entries."""
    name = record_name(batch.number)
    issued = None if batch.state is BatchState.RESERVED else _issued(batch)
    reservations = [entry for entry in entries if entry.action == "batch.reserve"]
    before = outcome.wrong
    _compare(outcome, name, reservations, _reserved(batch), "reserve")
    _compare(outcome, name, [entry for entry in entries if entry.action == "batch.issue"], issued, "issue")
    if outcome.wrong == before and (differing := batch_log.differences(batch, entries)):
        names = ", ".join(differing)
        outcome.find("changed", f"与审计日志不符：{names}", f"differs from the audit log in {names}", where=name)


def _compare(outcome: CheckResult, where: str, entries: list[Entry], row: dict[str, Any] | None, action: str) -> None:
    """Compare the entries of one action with the values of the row; None where there must be no entry."""
    expected = 0 if row is None else 1
    if len(entries) != expected:
        outcome.find(
            f"{action}-entries",
            f"审计日志中 batch.{action} 应有 {expected} 条，实有 {len(entries)} 条",
            f"has {len(entries)} entries batch.{action} in the audit log instead of {expected}",
            where=where,
        )
        return
    differing = [name for name, value in (row or {}).items() if entries[0].detail.get(name) != value]
    if differing:
        names = ", ".join(differing)
        outcome.find(
            f"{action}-differs",
            f"与审计日志第 {entries[0].id} 条不符：{names}",
            f"differs from entry {entries[0].id} of the audit log in {names}",
            where=where,
        )


def _reserved(batch: Batch) -> dict[str, Any]:
    return {
        "gtin": batch.gtin,
        "uscc": batch.uscc,
        "level": batch.level.value,
        "quantity": batch.quantity,
        "lot": batch.lot,
        "production_date": iso(batch.production_date) or None,
        "expiry_date": iso(batch.expiry_date) or None,
        "activation": batch.activation.value,
        "base": batch.base,
    }


def _issued(batch: Batch) -> dict[str, Any]:
    return {
        "sha256": batch.sha256,
        "bytes": batch.bytes,
        "key_id": "" if batch.level is Level.COMPACT else batch.key_id,
    }


def quotas(context: CheckContext, outcome: CheckResult) -> None:
    """No enterprise above its quota, unless the quota was lowered after its last batch: the log says when it was entered."""
    with integrity.snapshot(context.engine) as connection:
        outcome.examined = integrity.count_enterprises(connection)
        exceeded = integrity.exceeded_quotas(connection)
        logged = record_log.logged(connection, [f"enterprise:{one.uscc}" for one in exceeded])
        for enterprise in exceeded:
            entry = logged.get(f"enterprise:{enterprise.uscc}")
            entered = enterprise.updated_at if entry is None or entry.action == ADOPT else entry.at
            if enterprise.last_ordered_at <= entered:
                continue
            outcome.find(
                "quota",
                f"额度 {enterprise.quota}，单品码 {enterprise.used}",
                f"has a quota of {enterprise.quota} and {enterprise.used} item codes",
                where=f"enterprise:{enterprise.uscc}",
            )


def orders(context: CheckContext, outcome: CheckResult) -> None:
    """No key without a batch, and no batch with two keys."""
    with integrity.snapshot(context.engine) as connection:
        outcome.examined = integrity.count_orders(connection)
        for caller, key, number in integrity.orders_astray(connection, SHOWN + 1):
            outcome.find(
                "order",
                "幂等键没有对应的批次，或与别的键共用一个批次",
                "this idempotency key has no batch, or shares its batch with another key",
                where=f"{caller} {key}",
                value=number,
            )
