"""Metrics of the complaint form: how many forms were sent, by outcome. Nothing that a form says is counted."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter

OUTCOMES: Final = ("received", "over_budget", "repeated", "refused", "too_often", "busy")


class FormCounters:
    """Forms by outcome, in the process's registry or, without one, in a new one."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._forms = Counter(
            "zpcode_complaint_forms_total",
            "Complaint forms by outcome: received, over_budget (received and marked), repeated (the same form again), refused, "
            "too_often, busy (too many photos wait).",
            ("outcome",),
            registry=CollectorRegistry() if registry is None else registry,
        )
        for outcome in OUTCOMES:
            self._forms.labels(outcome)

    def count(self, outcome: str) -> None:
        """Count one form. `outcome` is one of `OUTCOMES`."""
        self._forms.labels(outcome).inc()
