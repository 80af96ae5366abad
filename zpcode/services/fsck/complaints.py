"""Check complaints: states follow from steps, steps are in the audit log, and nothing is kept too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Final

from zpcode.errors import Text
from zpcode.rules.audit import Entry
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints.complaint import Complaint, ComplaintEvent
from zpcode.rules.record_digest import RecordMismatch
from zpcode.services.complaints import forget
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.records import RecordFindings
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.services.records import kinds
from zpcode.services.records.comparison import compare
from zpcode.store import complaints, record_log
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity

COMPLAINTS: Final = Invariant(
    "complaints",
    Text(
        "每件投诉的办理步骤合规，与其状态相符，并与审计日志逐项相符",
        "the steps of each complaint are allowed, lead to its state, and agree with the audit log",
    ),
    Text(
        "有人改动过投诉：以办理步骤与审计日志为准（zpcode audit show --object complaint:编号），从备份恢复",
        "somebody altered a complaint: its steps and the audit log are authoritative (zpcode audit show --object complaint:NUMBER); restore it",
    ),
)
FORGOTTEN: Final = Invariant(
    "complaints-forgotten",
    Text("办结 180 天后不再留有联系方式与照片", "180 days after its end a complaint has no contact and no photos"),
    Text(
        "让后台进程运行：zpcode worker；或 zpcode fsck --repair",
        "let a worker run: zpcode worker; or zpcode fsck --repair",
    ),
)
_GRACE: Final = timedelta(hours=3)
"""How late the worker may be; it deletes once a minute."""
_EARLY: Final = timedelta(hours=1)
"""How far the clock of the worker may be ahead."""
_ACTIONS: Final = [f"complaint.{step}" for step in rules.ComplaintStep]
_CHUNK: Final = 500
_ABSENT: Final = {"over_budget": False}
"""What an entry means that lacks a member: entries before migration 0009 have no mark."""
_Key = tuple[str, str, int]


def steps(context: CheckContext, outcome: CheckResult) -> None:
    """Check each complaint against its steps, each step against the audit log, which must have no other steps, and the digests."""
    step_count = 0
    with integrity.snapshot(context.engine) as connection:
        every = complaints.every(connection)
        while chunk := list(islice(every, _CHUNK)):
            outcome.examined += len(chunk)
            logged = _entries(connection, [complaint for complaint, _ in chunk])
            for complaint, taken_by in chunk:
                step_count += len(taken_by)
                _check_state(outcome, complaint)
                _compare(outcome, complaint, taken_by, logged)
        entries = sum(integrity.count_audit_entries(connection, action) for action in _ACTIONS)
        findings = RecordFindings(outcome, covered=record_log.is_covered(connection))
        for page in compare(connection, kinds.COMPLAINTS, covered=findings.covered):
            findings.add(page.wrong)
        for kind in kinds.REMOVABLE:
            for page in compare(connection, kind, covered=findings.covered):
                findings.add(_not_deleted_in_time(connection, page.wrong, context.now))
    findings.end()
    if entries != step_count:
        outcome.find(
            "count",
            f"办理步骤 {step_count} 个，审计日志中 {entries} 条",
            f"{step_count} steps, but {entries} entries in the audit log",
        )


def _not_deleted_in_time(
    connection: Connection, wrong: Sequence[RecordMismatch], now: datetime
) -> list[RecordMismatch]:
    """The mismatches without contacts and photos that are gone because their complaint ended 180 days ago."""
    numbers = {one.name.partition(":")[2] for one in wrong if one.kind == "missing"}
    due = complaints.ended(connection, numbers, now - rules.KEPT_AFTER_END + _EARLY) if numbers else set()
    return [one for one in wrong if one.kind != "missing" or one.name.partition(":")[2] not in due]


def _check_state(outcome: CheckResult, complaint: Complaint) -> None:
    """Check that the steps are allowed and lead to the state, the region and the end of the complaint."""
    steps, number = complaint.events, complaint.number
    result = rules.state_of(step.step for step in steps)
    if result is None:
        value = " ".join(step.step for step in steps)
        outcome.find("chain", "步骤不合规", "its steps are not allowed", where=number, value=value)
    elif result is not complaint.state:
        outcome.find(
            "state", f"步骤应得出 {result}", f"its steps lead to {result}", where=number, value=complaint.state
        )
    last = next((step.region for step in reversed(steps) if step.region), None)
    if last is not None and last != complaint.region:
        outcome.find(
            "region", f"最后分派到 {last}", f"was last assigned to {last}", where=number, value=complaint.region
        )
    if complaint.ended_at != (steps[-1].at if steps and complaint.state in rules.ENDED else None):
        outcome.find("ended", "办结时间与步骤不符", "its end time contradicts its steps", where=number)


def _entries(connection: Connection, chunk: Sequence[Complaint]) -> dict[_Key, Entry]:
    """The entries of the audit log about these complaints by object, action and number of the step (0 for the first)."""
    objects = [_object(complaint) for complaint in chunk]
    entries = integrity.audit_entries(connection, objects, _ACTIONS)
    return {(entry.object, entry.action, entry.detail.get("event", 0)): entry for entry in entries}


def _compare(outcome: CheckResult, complaint: Complaint, taken_by: Sequence[str], logged: Mapping[_Key, Entry]) -> None:
    """Compare each step with its entry: caller, time, state, region, and the digest of the text."""
    for position, (step, by) in enumerate(zip(complaint.events, taken_by, strict=True)):
        first = step.step is rules.ComplaintStep.RECEIVE
        where = f"{complaint.number} #{step.id}"
        entry = logged.get((_object(complaint), f"complaint.{step.step}", 0 if first else step.id))
        if entry is None:
            outcome.find("unlogged", "这一步不在审计日志里", "this step is not in the audit log", where=where)
            continue
        detail = _first_detail(complaint) if first else _step_detail(complaint.events[: position + 1])
        differing = [name for name, value in detail.items() if entry.detail.get(name, _ABSENT.get(name)) != value]
        differing += [name for name, same in (("by", entry.actor == by), ("at", entry.at == step.at)) if not same]
        if first:
            differing += _first_differences(complaint, step)
        if differing:
            names = ", ".join(differing)
            outcome.find("altered", f"与审计日志不符：{names}", f"differs from the audit log in {names}", where=where)


def _first_differences(complaint: Complaint, step: ComplaintEvent) -> list[str]:
    """The fields of the first step that contradict the complaint; this step has no text."""
    contradicting = {"received_at": complaint.received_at != step.at, "words": bool(step.text)}
    return [name for name, wrong in contradicting.items() if wrong]


def _first_detail(complaint: Complaint) -> dict[str, Any]:
    """The expected detail of the first entry, without what may have changed since: photos, and the region."""
    detail = rules.logged(complaint)
    del detail["photos"]
    if any(step.region for step in complaint.events):
        del detail["region"]
    return detail


def _step_detail(steps: Sequence[ComplaintEvent]) -> dict[str, Any]:
    """The expected detail for the last of these steps, without its state if the sequence is not allowed."""
    state = rules.state_of(step.step for step in steps)
    detail = rules.logged_step(steps[-1], state or rules.ComplaintState.RECEIVED)
    if state is None:
        del detail["state"]
    return detail


def _object(complaint: Complaint) -> str:
    return f"complaint:{complaint.number}"


def forgotten(context: CheckContext, outcome: CheckResult) -> None:
    """Check that the worker has deleted contacts and photos in time; with `repair`, delete them."""
    bound = context.now - rules.KEPT_AFTER_END - _GRACE
    with integrity.snapshot(context.engine) as connection:
        outcome.examined = complaints.count_kept(connection)
        overdue = complaints.overdue(connection, bound)
    for number in overdue:
        outcome.find("kept", "联系方式或照片尚未删除", "its contact or photos are still kept", where=number)
    if overdue and context.repair:
        contacts, photos = forget(context.engine, context.now)
        outcome.add_repair(
            f"已删除 {contacts} 个联系方式、{photos} 张照片",
            f"deleted {contacts} contacts and {photos} photos",
            count=len(overdue),
        )
