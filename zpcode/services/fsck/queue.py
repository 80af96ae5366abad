"""The job queue: every batch that waits has somebody coming for it, and no job is about nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from zpcode.errors import Text
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant
from zpcode.store import batches, jobs
from zpcode.store.database.session import transaction
from zpcode.store.jobs import Job
from zpcode.store.monitoring import integrity

JOBS: Final = Invariant(
    "jobs",
    Text("每个待生成的批次都有任务，每个任务都有批次", "each batch that waits has a job, each job has a batch"),
    Text(
        "让后台进程运行：zpcode worker；它每五秒为无人处理的批次排队",
        "let a worker run: zpcode worker; every five seconds it queues what nobody is at",
    ),
)
_YOUNG: Final = timedelta(minutes=1)
_MANY: Final = 100_000


def queue(context: CheckContext, outcome: CheckResult) -> None:
    """A batch may be without a job between its reservation, or the end of a job, and the worker's next sweep.

    So may the job of a worker that was just killed be there still: what one sweep puts right is not wrong.
    """
    (lonely, lost), waited = _astray(context, outcome), 0.0
    while (lonely or lost) and waited < context.patience:
        context.pause(0.5)
        waited += 0.5
        lonely_still, lost_still = _astray(context, outcome)
        lonely, lost = lonely & lonely_still, {job: words for job, words in lost.items() if job in lost_still}
    for number in sorted(lonely):
        outcome.find(
            "unqueued", "待生成，却没有任务", "waits to be issued, and no job is about it", where=f"batch:{number}"
        )
    for job, (reason, zh, en) in sorted(lost.items()):
        outcome.find(reason, zh, en, where=f"job:{job.id}", value=job.batch)
    if context.repair and any(reason == "abandoned" for reason, _, _ in lost.values()):
        with transaction(context.engine) as connection:
            cleared = jobs.clear_abandoned(connection)
        outcome.add_repair(f"已清除 {cleared} 个无主任务", f"cleared {cleared} abandoned jobs", count=cleared)


def _astray(context: CheckContext, outcome: CheckResult) -> tuple[set[int], dict[Job, tuple[str, str, str]]]:
    """The batches that nobody comes for, and the jobs that lead nowhere with the reason and two texts."""
    lonely = _lonely(context, outcome)
    with transaction(context.engine) as connection:
        homeless = jobs.without_batch(connection, SHOWN + 1)
        abandoned = jobs.abandoned(connection, SHOWN + 1)
    lost = dict.fromkeys(homeless, ("homeless", "任务没有对应的批次", "there is no batch for this job"))
    words = ("abandoned", "执行它的后台进程已不在", "the worker that was at it is gone")
    return lonely, lost | dict.fromkeys(abandoned, words)


def _lonely(context: CheckContext, outcome: CheckResult) -> set[int]:
    """Reserved batches, a minute old, that nobody is issuing and no job is about."""
    with integrity.snapshot(context.engine) as connection:
        waiting = batches.waiting(connection, _MANY)
        outcome.examined = len(waiting)
        missing = set(waiting) - jobs.queued(connection)
        return {
            batch.number
            for batch in batches.numbered(connection, sorted(missing))
            if batch.created_at < context.now - _YOUNG
        }
