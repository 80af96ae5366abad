"""The metrics of the installation that a worker exposes, from the values that its statistics have read.

Labels take their values from closed lists, and every value is there from the start: a rate needs a first value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from zpcode.projection.comparison import ProjectionComparison
from zpcode.rules.continuity import BehindEvidence
from zpcode.rules.status.decisions import Action
from zpcode.store.monitoring.statistics import Counts, Decisions
from zpcode.telemetry.metrics import counters, gauges
from zpcode.wire.vocabulary import Scope

MONTHS: Final = ("this", "next")
JOB_STATES: Final = ("todo", "doing", "succeeded", "failed", "cancelled", "aborting", "aborted")
WITNESSES: Final = ("redis", "files", "signer", "process")
KINDS: Final = ("missing", "older", "newer", "altered", "unreadable", "stray", "mark")


@dataclass(frozen=True, slots=True)
class Stream:
    """The inbox and the stream of scans together. All numbers are entries.

    `length` wait now, `added` ever came, `lag` no worker has read, `pending` a worker has read and not finished.
    """

    length: int = 0
    added: int = 0
    lag: int = 0
    pending: int = 0


def of_parts(up: dict[str, bool]) -> GaugeMetricFamily:
    """Which parts of the installation answer."""
    return gauges(
        "zpcode_part_up",
        "1 if the part answered the worker in the last ten seconds: database, redis, signer.",
        "part",
        up,
    )


def of_revisions(revisions: dict[str, float]) -> GaugeMetricFamily:
    """The newest revision, by place: `database`, and `redis` for the revision that every server of Redis has."""
    meaning = "Newest revision in the database, and the revision that every Redis server has (redis)."
    return gauges("zpcode_projection_revision", meaning, "place", revisions)


def of_lag(revisions: int, seconds: float) -> Iterator[Metric]:
    """How far Redis is behind the database."""
    yield GaugeMetricFamily(
        "zpcode_projection_lag_revisions", "Revisions of the database that Redis does not have yet.", revisions
    )
    yield GaugeMetricFamily(
        "zpcode_projection_lag_seconds", "For how long Redis has been behind the database.", seconds
    )


def of_decisions(decisions: Decisions) -> Iterator[Metric]:
    """The decisions ever made."""
    yield CounterMetricFamily("zpcode_notices_total", "Decisions with a public notice.", decisions.notices)
    family = CounterMetricFamily("zpcode_decisions_total", "Decisions by scope and action.", labels=("scope", "action"))
    for scope in Scope:
        for action in Action:
            labels = (scope.value, action.value)
            family.add_metric(labels, decisions.by.get(labels, 0))
    yield family


def of_countersignature(seconds: float) -> GaugeMetricFamily:
    """How old the newest countersignature of the audit log is."""
    meaning = "Seconds since the signer last countersigned the head of the audit log."
    return GaugeMetricFamily("zpcode_audit_countersigned_age_seconds", meaning, seconds)


def of_stream(stream: Stream) -> Iterator[Metric]:
    """The stream of scans."""
    yield GaugeMetricFamily("zpcode_stream_entries", "Entries of scans that wait in Redis.", stream.length)
    yield CounterMetricFamily("zpcode_stream_added_total", "Entries of scans that ever came to Redis.", stream.added)
    yield GaugeMetricFamily("zpcode_stream_lag_entries", "Entries that no worker has read yet.", stream.lag)
    yield GaugeMetricFamily(
        "zpcode_stream_pending_entries", "Entries that a worker has read and not finished.", stream.pending
    )


def of_counts(counts: Counts) -> Iterator[Metric]:
    """The rows of the database."""
    yield CounterMetricFamily("zpcode_audit_entries_total", "Entries of the audit log.", counts.audit_entries)
    yield from _of_batches(counts)
    jobs = {state: counts.jobs.get(state, 0) for state in JOB_STATES}
    yield gauges("zpcode_jobs", "Jobs of the queue by status.", "status", jobs)
    partitions = dict(zip(MONTHS, map(int, counts.partitions), strict=True))
    meaning = "1 if the partition for the scans of this or the next month exists."
    yield gauges("zpcode_scan_partition_present", meaning, "month", partitions)
    meaning = "1 if there are scans in the default partition."
    yield GaugeMetricFamily("zpcode_scan_partition_stray", meaning, int(counts.stray))
    meaning = "1 if the WAL archive has stopped: its slot is there, and nobody receives."
    yield GaugeMetricFamily("zpcode_wal_archive_stopped", meaning, int(counts.archive_stopped))
    meaning = "WAL on the database server that the archive has not received; 0 without an archive."
    yield GaugeMetricFamily("zpcode_wal_archive_waiting_bytes", meaning, counts.archive_bytes)


def _of_batches(counts: Counts) -> Iterator[Metric]:
    states = {"reserved": counts.waiting, "issued": counts.batches - counts.waiting}
    yield gauges("zpcode_batches", "Batches by state.", "state", states)
    yield GaugeMetricFamily("zpcode_batches_hindered", "Reserved batches that record why they wait.", counts.blocked)
    waited = 0.0 if counts.oldest is None else (datetime.now(UTC) - counts.oldest).total_seconds()
    meaning = "For how long the oldest reserved batch has waited."
    yield GaugeMetricFamily("zpcode_batches_waiting_seconds", meaning, waited)


def of_continuity(evidence: Sequence[BehindEvidence]) -> GaugeMetricFamily:
    """Whether the database is behind, by the witness that proves it."""
    meaning = "1 if this witness has more than the database: redis, files, signer, process."
    behind = {one.witness for one in evidence}
    return gauges("zpcode_database_behind", meaning, "witness", {name: int(name in behind) for name in WITNESSES})


def of_unproven_files(count: int) -> GaugeMetricFamily:
    """Batches without a record of which the folder of code files has files that the authority has not begun."""
    meaning = "Unknown batches of which the folder of code files has files that the authority has not written."
    return GaugeMetricFamily("zpcode_unproven_code_files", meaning, count)


def of_forged_heads(count: int) -> CounterMetricFamily:
    """The heads that this worker met in Redis and that the authority had not written."""
    meaning = "Heads in Redis that the authority had not written."
    return CounterMetricFamily("zpcode_forged_heads_total", meaning, count)


def of_comparison(comparison: ProjectionComparison) -> Iterator[Metric]:
    """The comparison of Redis with the database that this worker makes."""
    for name, meaning, value in (
        ("zpcode_comparison_cards_total", "Cards compared between Redis and the database.", comparison.compared),
        ("zpcode_comparison_mended_total", "Cards repaired in Redis.", comparison.repaired),
        ("zpcode_comparison_rounds_total", "Comparisons of all cards.", comparison.rounds),
    ):
        yield CounterMetricFamily(name, meaning, value)
    kinds = {kind: comparison.by_kind.get(kind, 0) for kind in KINDS}
    yield counters(
        "zpcode_comparison_findings_total", "Cards whose copy in Redis differed from the database.", "kind", kinds
    )
