"""The metrics of the API. Labels are methods, route templates and statuses, never addresses, callers or targets."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from zpcode.telemetry import metrics

BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """Requests by method, route and status, and their times by route; with the registry of the process."""

    def __init__(self) -> None:
        self.registry: CollectorRegistry = metrics.registry("authority")
        self._requests = Counter(
            "zpcode_api_requests_total",
            "Requests. route is the template (/v1/batches/{number}), empty for an unknown path; status is 0 if the client did not "
            "wait for the answer.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "zpcode_api_request_seconds",
            "Time to the end of an answer (histogram).",
            ("route",),
            buckets=BOUNDS,
            registry=self.registry,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. Unknown methods are counted together as `other`, because the caller can invent them."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
