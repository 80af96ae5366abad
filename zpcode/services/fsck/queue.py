"""Check the job queue: each reserved batch has a job, and each job has a batch and a live worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from zpcode.errors import Text
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import SHOWN, CheckResult, Invariant
from zpcode.store import batches
from zpcode.store.database.session import transaction
from zpcode.store.monitoring import integrity, jobs
from zpcode.store.monitoring.jobs import Job

JOBS: Final = Invariant(
    "jobs",
    Text("每个待生成的批次都有任务，每个任务都有批次", "each reserved batch has a job, and each job has a batch"),
    Text(
        "让后台进程运行：zpcode worker；它每五秒为无人处理的批次排队",
        "let a worker run: zpcode worker; every five seconds it queues batches without a job",
    ),
)
_YOUNG: Final = timedelta(minutes=1)
_MANY: Final = 100_000


def queue(context: CheckContext, outcome: CheckResult) -> None:
    """Check the queue repeatedly: problems that the worker solves within `patience` are no findings.

    After its reservation a batch has no job until it is queued, and the job of a killed worker stays until the clean-up.
    """
    (unqueued, broken), waited = _problems(context, outcome), 0.0
    while (unqueued or broken) and waited < context.patience:
        context.pause(0.5)
        waited += 0.5
        still_unqueued, still_broken = _problems(context, outcome)
        unqueued &= still_unqueued
        broken = {job: words for job, words in broken.items() if job in still_broken}
    for number in sorted(unqueued):
        outcome.find("unqueued", "待生成，却没有任务", "is reserved, but has no job", where=f"batch:{number}")
    for job, (reason, zh, en) in sorted(broken.items()):
        outcome.find(reason, zh, en, where=f"job:{job.id}", value=job.batch)
    if context.repair and any(reason == "abandoned" for reason, _, _ in broken.values()):
        with transaction(context.engine) as connection:
            cleared = jobs.clear_abandoned(connection)
        outcome.add_repair(f"已清除 {cleared} 个无主任务", f"cleared {cleared} abandoned jobs", count=cleared)


def _problems(context: CheckContext, outcome: CheckResult) -> tuple[set[int], dict[Job, tuple[str, str, str]]]:
    """The batches without a job; and the jobs without a batch or a live worker, with reason and texts."""
    unqueued = _unqueued(context, outcome)
    with transaction(context.engine) as connection:
        without_batch = jobs.without_batch(connection, SHOWN + 1)
        abandoned = jobs.abandoned(connection, SHOWN + 1)
    broken = dict.fromkeys(without_batch, ("homeless", "任务没有对应的批次", "the batch of this job does not exist"))
    words = ("abandoned", "执行此任务的后台进程已不在", "the worker of this job is gone")
    return unqueued, broken | dict.fromkeys(abandoned, words)


def _unqueued(context: CheckContext, outcome: CheckResult) -> set[int]:
    """The batches that have been reserved for a minute, are not being issued, and have no job."""
    with integrity.snapshot(context.engine) as connection:
        waiting = batches.waiting(connection, _MANY)
        outcome.examined = len(waiting)
        missing = set(waiting) - jobs.queued(connection)
        return {
            batch.number
            for batch in batches.numbered(connection, sorted(missing))
            if batch.created_at < context.now - _YOUNG
        }
