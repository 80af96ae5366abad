"""Check journey events and their withdrawals against the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from zpcode.errors import Text
from zpcode.rules.journey import JourneyEvent, audit_detail
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import journey
from zpcode.store.database.session import Connection
from zpcode.store.monitoring import integrity

JOURNEY: Final = Invariant(
    "journey",
    Text("每个流转事件与其撤回都与审计日志相符", "each journey event and each withdrawal agrees with the audit log"),
    Text(
        "以审计日志为准：zpcode audit show --object batch:序号 或 lot:GTIN:批号；从备份恢复被改动的行",
        "the audit log is authoritative: zpcode audit show --object batch:N or lot:GTIN:LOT; restore the altered row from a"
        " backup",
    ),
)
_CHUNK: Final = 500
Details = Mapping[int, dict[str, Any]]


def events(context: CheckContext, outcome: CheckResult) -> None:
    """Check that events and withdrawals agree with the log word for word, and that no logged event is missing."""
    with integrity.snapshot(context.engine) as connection:
        every = journey.every(connection)
        while chunk := list(islice(every, _CHUNK)):
            outcome.examined += len(chunk)
            recorded, withdrawn = _logged(connection, chunk)
            for event in chunk:
                _compare(outcome, event, recorded.get(event.id), withdrawn.get(event.id))
        logged = integrity.count_audited_events(connection)
    if logged != outcome.examined:
        outcome.find(
            "count",
            f"流转事件 {outcome.examined} 个，审计日志中 {logged} 个",
            f"{outcome.examined} events, but {logged} in the audit log",
        )


def _logged(connection: Connection, chunk: Sequence[JourneyEvent]) -> tuple[Details, Details]:
    """The content of the log by event number: the records of events, and their withdrawals."""
    objects = sorted({event.subject.name for event in chunk})
    recorded: dict[int, dict[str, Any]] = {}
    for entry in integrity.audit_entries(connection, objects, ["journey.record"]):
        for detail in entry.detail.get("events", ()):
            recorded[detail.get("event")] = {"object": entry.object, "by": entry.actor, "detail": detail}
    withdrawn: dict[int, dict[str, Any]] = {
        entry.detail.get("event", 0): entry.detail | {"by": entry.actor}
        for entry in integrity.audit_entries(connection, objects, ["journey.withdraw"])
    }
    return recorded, withdrawn


def _compare(
    outcome: CheckResult, event: JourneyEvent, record: dict[str, Any] | None, withdrawal: dict[str, Any] | None
) -> None:
    where = f"{event.subject.name} #{event.id}"
    if record is None or record["object"] != event.subject.name:
        outcome.find("unlogged", "这个事件不在审计日志里", "this event is not in the audit log", where=where)
        return
    detail = audit_detail(event)
    differing = [name for name, value in detail.items() if record["detail"].get(name) != value]
    if record["by"] != event.recorded_by:
        differing.append("recorded_by")
    if (withdrawal is None) != (event.withdrawn_at is None) or (
        withdrawal is not None and (withdrawal["reason"], withdrawal["by"]) != (event.withdrawal, event.withdrawn_by)
    ):
        differing.append("withdrawal")
    if differing:
        names = ", ".join(differing)
        outcome.find("altered", f"与审计日志不符：{names}", f"differs from the audit log in {names}", where=where)
