"""Complaints: each stands where its steps lead, each step is as the audit log has it, and nothing is kept too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from zpcode.errors import Text
from zpcode.rules.audit import Entry
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints.complaint import Complaint, ComplaintEvent
from zpcode.services.complaints import forget
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import complaints
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity

COMPLAINTS: Final = Invariant(
    "complaints",
    Text(
        "每件投诉的办理步骤合规，与其状态相符，并与审计日志逐项相符",
        "the steps of each complaint are possible, lead to its state, and are as the audit log has them",
    ),
    Text(
        "有人改动过投诉：以办理步骤与审计日志为准（zpcode audit show --object complaint:编号），从备份恢复",
        "somebody altered a complaint: its steps and the audit log are right (zpcode audit show --object complaint:NUMBER); restore it",
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
"""What the worker, which looks every minute, may be late."""
_ACTIONS: Final = [f"complaint.{step}" for step in rules.ComplaintStep]
_CHUNK: Final = 500
_Key = tuple[str, str, int]


def steps(context: CheckContext, outcome: CheckResult) -> None:
    """Each complaint against its steps, each of these word for word against the audit log, and as many as that has."""
    steps_in_all = 0
    with integrity.snapshot(context.engine) as connection:
        every = complaints.every(connection)
        while chunk := list(islice(every, _CHUNK)):
            outcome.examined += len(chunk)
            said = _said(connection, [found for found, _ in chunk])
            for found, taken_by in chunk:
                steps_in_all += len(taken_by)
                _stands(outcome, found)
                _compare(outcome, found, taken_by, said)
        entries = sum(integrity.count_audit_entries(connection, action) for action in _ACTIONS)
    if entries != steps_in_all:
        outcome.find(
            "count",
            f"办理步骤 {steps_in_all} 个，审计日志中 {entries} 条",
            f"{steps_in_all} steps, and {entries} entries in the audit log",
        )


def _stands(outcome: CheckResult, found: Complaint) -> None:
    """Whether its steps are possible and lead to its state, its office and its end."""
    steps, number = found.events, found.number
    led = rules.state_of(step.step for step in steps)
    if led is None:
        value = " ".join(step.step for step in steps)
        outcome.find("chain", "步骤不合规", "its steps are not possible", where=number, value=value)
    elif led is not found.state:
        outcome.find("state", f"步骤应得出 {led}", f"its steps lead to {led}", where=number, value=found.state)
    last = next((step.region for step in reversed(steps) if step.region), None)
    if last is not None and last != found.region:
        outcome.find("region", f"最后分派到 {last}", f"was last assigned to {last}", where=number, value=found.region)
    if found.ended_at != (steps[-1].at if steps and found.state in rules.ENDED else None):
        outcome.find("ended", "办结时间与步骤不符", "its time of ending contradicts its steps", where=number)


def _said(connection: Connection, chunk: Sequence[Complaint]) -> dict[_Key, Entry]:
    """The audit log's entries about these complaints by object, action and number of the step, which the first has not."""
    objects = [_object(found) for found in chunk]
    entries = integrity.audit_entries(connection, objects, _ACTIONS)
    return {(entry.object, entry.action, entry.detail.get("event", 0)): entry for entry in entries}


def _compare(outcome: CheckResult, found: Complaint, taken_by: Sequence[str], said: Mapping[_Key, Entry]) -> None:
    """Each step as the log has it: who, when, to which state and office, and the digest of every text."""
    for place, (step, by) in enumerate(zip(found.events, taken_by, strict=True)):
        first = step.step is rules.ComplaintStep.RECEIVE
        where = f"{found.number} #{step.id}"
        entry = said.get((_object(found), f"complaint.{step.step}", 0 if first else step.id))
        if entry is None:
            outcome.find("unlogged", "这一步不在审计日志里", "this step is not in the audit log", where=where)
            continue
        detail = _received(found) if first else _taken(found.events[: place + 1])
        differing = [name for name, value in detail.items() if entry.detail.get(name) != value]
        differing += [name for name, same in (("by", entry.actor == by), ("at", entry.at == step.at)) if not same]
        if first:
            differing += _beginning(found, step)
        if differing:
            names = ", ".join(differing)
            outcome.find("altered", f"与审计日志不符：{names}", f"differs from the audit log in {names}", where=where)


def _beginning(found: Complaint, step: ComplaintEvent) -> list[str]:
    """What contradicts that the complaint came in with this step, which has no words."""
    contradicting = {"received_at": found.received_at != step.at, "words": bool(step.text)}
    return [name for name, wrong in contradicting.items() if wrong]


def _received(found: Complaint) -> dict[str, Any]:
    """What the log must have of its coming in: photos may be gone by now, and the office may have changed."""
    detail = rules.logged(found)
    del detail["photos"]
    if any(step.region for step in found.events):
        del detail["region"]
    return detail


def _taken(steps: Sequence[ComplaintEvent]) -> dict[str, Any]:
    """What the log must have of the last of these steps; its state is unknown where they are no legal chain."""
    state = rules.state_of(step.step for step in steps)
    detail = rules.logged_step(steps[-1], state or rules.ComplaintState.RECEIVED)
    if state is None:
        del detail["state"]
    return detail


def _object(found: Complaint) -> str:
    return f"complaint:{found.number}"


def forgotten(context: CheckContext, outcome: CheckResult) -> None:
    """Nothing that the worker should have deleted is left; `--repair` deletes it now."""
    bound = context.now - rules.KEPT_AFTER_END - _GRACE
    with integrity.snapshot(context.engine) as connection:
        outcome.examined = complaints.count_kept(connection)
        kept = complaints.overdue(connection, bound)
    for number in kept:
        outcome.find("kept", "联系方式或照片尚未删除", "its contact or photos are still kept", where=number)
    if kept and context.repair:
        contacts, photos = forget(context.engine, context.now)
        outcome.add_repair(
            f"已删除 {contacts} 个联系方式、{photos} 张照片",
            f"deleted {contacts} contacts and {photos} photos",
            count=len(kept),
        )
