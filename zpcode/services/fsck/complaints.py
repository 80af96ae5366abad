"""Complaints: each stands where its steps lead, each step is in the audit log, and nothing is kept too long."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from zpcode.errors import Text
from zpcode.rules import complaints as rules
from zpcode.services.complaints import forget
from zpcode.services.fsck.ground import Ground
from zpcode.services.fsck.report import Invariant, Outcome
from zpcode.store import complaints, invariants

COMPLAINTS: Final = Invariant(
    "complaints",
    Text("每件投诉的办理步骤合规，并与其状态相符", "the steps of each complaint are possible and lead to its state"),
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
"""What the worker, which looks every hour, may be late."""


def steps(ground: Ground, outcome: Outcome) -> None:
    """Each complaint against its steps, and as many steps as the audit log has."""
    steps_in_all = 0
    with invariants.snapshot(ground.engine) as connection:
        for number, state, region, ended, taken in complaints.every(connection):
            outcome.examined += 1
            steps_in_all += len(taken)
            _chain(outcome, number, state, [step for step, _, _ in taken])
            last = next((to for _, to, _ in reversed(taken) if to), None)
            if last is not None and last != region:
                outcome.find("region", f"最后分派到 {last}", f"was last assigned to {last}", where=number, value=region)
            if ended != (state in rules.ENDED):
                outcome.find("ended", "办结时间与状态不符", "its time of ending contradicts its state", where=number)
        entries = sum(invariants.count_of(connection, f"complaint.{step}") for step in rules.Step)
    if entries != steps_in_all:
        outcome.find(
            "count",
            f"办理步骤 {steps_in_all} 个，审计日志中 {entries} 条",
            f"{steps_in_all} steps, and {entries} entries in the audit log",
        )


def _chain(outcome: Outcome, number: str, state: rules.State, steps: list[rules.Step]) -> None:
    led = rules.state_of(steps)
    if led is None:
        outcome.find("chain", "步骤不合规", "its steps are not possible", where=number, value=" ".join(steps))
    elif led is not state:
        outcome.find("state", f"步骤应得出 {led}", f"its steps lead to {led}", where=number, value=state)


def forgotten(ground: Ground, outcome: Outcome) -> None:
    """Nothing that the worker should have deleted is left; `--repair` deletes it now."""
    bound = ground.now - rules.KEPT_AFTER_END - _GRACE
    with invariants.snapshot(ground.engine) as connection:
        outcome.examined = complaints.keeping(connection)
        kept = complaints.overdue(connection, bound)
    for number in kept:
        outcome.find("kept", "联系方式或照片尚未删除", "its contact or photos are still kept", where=number)
    if kept and ground.repair:
        contacts, photos = forget(ground.engine, ground.now)
        outcome.mend(
            f"已删除 {contacts} 个联系方式、{photos} 张照片",
            f"deleted {contacts} contacts and {photos} photos",
            count=len(kept),
        )
