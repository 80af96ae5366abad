"""The metrics of one scrape: samples by name and labels."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from zpcode.telemetry import metrics


class Exposed:
    """One scrape's samples."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in families for sample in family.samples]
        self.meanings: Mapping[str, str] = {family.name: family.documentation for family in families}
        """The help text of each metric; the name of a counter is without `_total`."""

    @classmethod
    def at(cls, port: int) -> Exposed:
        """A scrape over HTTP, with Prometheus's timeout."""
        return cls(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Exposed:
        """A scrape without HTTP."""
        return cls(metrics.page(registry).decode())

    def value(self, name: str, **labels: str) -> float:
        """The one sample of this name that has these labels. Raises KeyError where there is none."""
        for sample in self.samples:
            if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items()):
                return sample.value
        raise KeyError(name, labels)

    def has(self, name: str) -> bool:
        """Whether there is any sample of this name."""
        return any(sample.name == name for sample in self.samples)

    def total(self, name: str) -> float:
        """The sum of all samples of this name."""
        return sum(sample.value for sample in self.samples if sample.name == name)

    @property
    def labels(self) -> Mapping[str, set[str]]:
        """The label names by sample name."""
        labels: dict[str, set[str]] = {}
        for sample in self.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
        return labels

    def label_values(self) -> set[str]:
        """Every value of every label."""
        return {value for sample in self.samples for value in sample.labels.values()}
