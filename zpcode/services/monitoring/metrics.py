"""What of the installation Prometheus hears from a worker: every metric, and how it is made of what was looked at.

Labels come out of closed lists and are all there from the start, so that a rate has something to begin with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from zpcode.projection.comparison import ProjectionComparison
from zpcode.rules.status.decisions import Action
from zpcode.store.monitoring.statistics import Counts, Decisions
from zpcode.telemetry.metrics import Family, Measure
from zpcode.wire.vocabulary import Scope

UP: Final = Family("zpcode_part_up", "1 where a part answered the worker lately.", "gauge", ("part",))
REVISION: Final = Family("zpcode_projection_revision", "Newest card in the database, and as far as every server of Redis has it.", "gauge", ("place",))  # fmt: skip
LAG_REVISIONS: Final = Family("zpcode_projection_lag_revisions", "Cards of the database that Redis has not got.")
LAG_SECONDS: Final = Family("zpcode_projection_lag_seconds", "For how long Redis has been without one of them.")
STREAM: Final = Family("zpcode_stream_entries", "Entries of the stream of scans.")
STREAM_ADDED: Final = Family("zpcode_stream_added_total", "Entries the stream has ever taken.", "counter")
STREAM_TRIMMED: Final = Family("zpcode_stream_trimmed_total", "Entries lost to the stream's bound before they were drained.", "counter")  # fmt: skip
STREAM_LAG: Final = Family("zpcode_stream_lag_entries", "Entries no worker has taken yet.")
STREAM_PENDING: Final = Family("zpcode_stream_pending_entries", "Entries a worker has taken and not finished.")
BATCHES: Final = Family("zpcode_batches", "Batches by state.", "gauge", ("state",))
HINDERED: Final = Family("zpcode_batches_hindered", "Reserved batches that say why they wait.")
WAITED: Final = Family("zpcode_batches_waiting_seconds", "For how long the oldest reserved batch has waited.")
JOBS: Final = Family("zpcode_jobs", "Jobs of the queue by status.", "gauge", ("status",))
DECISIONS: Final = Family("zpcode_decisions_total", "Decisions by scope and action.", "counter", ("scope", "action"))
NOTICES: Final = Family("zpcode_notices_total", "Decisions with a public notice.", "counter")
AUDIT: Final = Family("zpcode_audit_entries_total", "Entries of the audit log.", "counter")
PARTITION: Final = Family("zpcode_scan_partition_present", "1 where a month's scans have their partition.", "gauge", ("month",))  # fmt: skip
STRAY: Final = Family("zpcode_scan_partition_stray", "1 where scans stand in the default partition.")
COMPARED: Final = Family("zpcode_comparison_cards_total", "Cards compared between Redis and the database.", "counter")
FINDINGS: Final = Family("zpcode_comparison_findings_total", "Cards that Redis had otherwise.", "counter", ("kind",))
MENDED: Final = Family("zpcode_comparison_mended_total", "Cards put right in Redis.", "counter")
ROUNDS: Final = Family("zpcode_comparison_rounds_total", "Rounds through all cards.", "counter")


MONTHS: Final = ("this", "next")
JOB_STATES: Final = ("todo", "doing", "succeeded", "failed", "cancelled", "aborting", "aborted")
KINDS: Final = ("missing", "older", "newer", "altered", "unreadable", "stray", "mark")


@dataclass(frozen=True, slots=True)
class Stream:
    """The stream of scans: its length, how many entries it has ever taken, and how far its drainers are.

    `drained` counts the entries taken out of it so far; None where that is not known.
    """

    length: int = 0
    added: int = 0
    lag: int = 0
    pending: int = 0
    drained: int | None = None

    @property
    def trimmed(self) -> int | None:
        """Entries that are neither there nor drained."""
        return None if self.drained is None else max(0, self.added - self.length - self.drained)


def of_database(head: int, counts: Counts | None, decisions: Decisions) -> Iterator[Measure]:
    """The database: its newest revision, what was counted last, the decisions."""
    yield Measure(REVISION, head, ("database",))
    yield Measure(NOTICES, decisions.notices)
    for scope in Scope:
        for action in Action:
            yield Measure(DECISIONS, decisions.by.get((scope.value, action.value), 0), (scope.value, action.value))
    if counts is not None:
        yield from _of_counts(counts)


def of_redis(revision: int, stream: Stream) -> Iterator[Measure]:
    """Redis: the revision that every server of it has, and the stream of scans."""
    yield Measure(REVISION, revision, ("redis",))
    yield Measure(STREAM, stream.length)
    yield Measure(STREAM_ADDED, stream.added)
    yield Measure(STREAM_LAG, stream.lag)
    yield Measure(STREAM_PENDING, stream.pending)
    if stream.trimmed is not None:
        yield Measure(STREAM_TRIMMED, stream.trimmed)


def _of_counts(found: Counts) -> Iterator[Measure]:
    yield Measure(AUDIT, found.audit_entries)
    yield Measure(BATCHES, found.waiting, ("reserved",))
    yield Measure(BATCHES, found.batches - found.waiting, ("issued",))
    yield Measure(HINDERED, found.hindered)
    yield Measure(WAITED, 0.0 if found.oldest is None else (datetime.now(UTC) - found.oldest).total_seconds())
    for status in JOB_STATES:
        yield Measure(JOBS, found.jobs.get(status, 0), (status,))
    for month, present in zip(MONTHS, found.partitions, strict=True):
        yield Measure(PARTITION, int(present), (month,))
    yield Measure(STRAY, int(found.stray))


def of_comparison(found: ProjectionComparison | None) -> Iterator[Measure]:
    """The comparison of Redis with the database, where this worker makes one."""
    if found is None:
        return
    yield Measure(COMPARED, found.compared)
    yield Measure(MENDED, found.mended)
    yield Measure(ROUNDS, found.rounds)
    for kind in KINDS:
        yield Measure(FINDINGS, found.by_kind.get(kind, 0), (kind,))
