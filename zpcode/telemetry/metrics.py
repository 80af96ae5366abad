"""What a process counts of itself, as Prometheus reads it.

A process describes its metrics once, as `Family` values, and gives `Measure` values whenever somebody asks: plain
numbers it keeps anyway. Nothing here knows what is measured. Labels hold words out of closed lists only: a code, an
address or a name of a person in a label would be kept for months.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name as it is exposed, what it means, its kind, the names of its labels.

    A counter's name ends in `_total`; units are base units (seconds, bytes) and stand in the name.
    """

    name: str
    meaning: str
    kind: Kind = "gauge"
    labels: tuple[str, ...] = ()


class Spread(NamedTuple):
    """A histogram: how many fell into each bucket (not summed up; one more than `bounds`), and the sum of all."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class Measure(NamedTuple):
    """One value of one family; `labels` are the values of its labels, in the family's order."""

    family: Family
    value: float | Spread
    labels: tuple[str, ...] = ()


BUILD: Final = Family("zpcode_build_info", "The program's version and which process this is.", "gauge", ("version", "process"))  # fmt: skip


def registry(process: str, measures: Callable[[], Iterable[Measure]]) -> CollectorRegistry:
    """A registry with the measures of one process, its version, and what the kernel knows of it (CPU, memory, files)."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
    found = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=found)
    built = Measure(BUILD, 1, (version("zpcode"), process))
    found.register(Measured(lambda: [built, *measures()]))
    return found


def page(found: CollectorRegistry) -> bytes:
    """Everything in a registry in Prometheus's text format."""
    return generate_latest(found)


class Measured(Collector):
    """Measures as Prometheus's client library wants them: all values of a family together."""

    def __init__(self, measures: Callable[[], Iterable[Measure]]) -> None:
        self._measures = measures

    def collect(self) -> Iterator[Metric]:
        """Ask once, and sort by family."""
        found: dict[Family, list[Measure]] = {}
        for measure in self._measures():
            found.setdefault(measure.family, []).append(measure)
        for family, values in found.items():
            yield _metric(family, values)


def _metric(family: Family, values: Iterable[Measure]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(family.name, family.meaning, labels=family.labels)
        for measure in values:
            if isinstance(measure.value, Spread):
                histogram.add_metric(measure.labels, _buckets(measure.value), measure.value.total)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.meaning, labels=family.labels)
    for measure in values:
        if not isinstance(measure.value, Spread):
            metric.add_metric(measure.labels, measure.value)
    return metric


def _buckets(spread: Spread) -> list[tuple[str, float]]:
    bounds = [*map(str, spread.bounds), "+Inf"]
    return list(zip(bounds, accumulate(spread.counts), strict=True))
