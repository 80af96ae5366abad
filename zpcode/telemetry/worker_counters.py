"""What one worker counts of its own work."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

OUTCOMES: Final = ("issued", "waits", "busy")
REFUSALS: Final = ("inbox_length", "entry_size", "entry_unreadable", "scan_bounds", "scan_item", "scan_time")


class WorkerCounters:
    """Entries drained, scans refused, batches by outcome, and whether jobs are taken; in the registry of the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.drained = Counter(
            "zpcode_worker_stream_entries_drained_total",
            "Entries of the scan stream that this worker has drained.",
            registry=registry,
        )
        self._refused = Counter(
            "zpcode_worker_scans_refused_total",
            "What the scan service cannot have sent: entries that were dropped (inbox_length, entry_size, entry_unreadable), scans that were"
            " dropped (scan_bounds), scans of items that do not exist, which no history counts (scan_item), scans that got"
            " another time (scan_time).",
            ("reason",),
            registry=registry,
        )
        for reason in REFUSALS:
            self._refused.labels(reason)
        self._batches = Counter(
            "zpcode_worker_batches_total",
            "Batches this worker was asked to issue, by outcome: issued, waits, busy (another worker issues it).",
            ("outcome",),
            registry=registry,
        )
        self.queue_open = Gauge(
            "zpcode_worker_queue_open", "1 while this worker takes jobs from the queue.", registry=registry
        )
        for outcome in OUTCOMES:
            self._batches.labels(outcome)

    def refuse(self, reason: str, number: int) -> None:
        """Count entries or scans that were refused for one of `REFUSALS`."""
        self._refused.labels(reason).inc(number)

    def batch(self, outcome: str) -> None:
        """Count a batch: `issued`, `waits` (a server does not answer) or `busy` (another worker issues it)."""
        self._batches.labels(outcome).inc()
