"""The registry of a process's metrics, and its page in Prometheus's text format.

Metrics are those of `prometheus_client`: a `Counter`, `Gauge` or `Histogram` where an event is counted, a `Collector`
where a number exists anyway and is only read for a scrape. A label takes its values from a closed list. A code, an
address or the name of a person must not be a label: Prometheus would keep it for months.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUILD: Final = "The program's version, and which process this is."


def registry(process: str, *collectors: Collector) -> CollectorRegistry:
    """A registry with these collectors, the program's version, and the process's CPU, memory and open files.

    A second registry of the same process may have the same metrics: tests make several.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
    made = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=made)
    Gauge("zpcode_build_info", _BUILD, ("version", "process"), registry=made).labels(version("zpcode"), process).set(1)
    for collector in collectors:
        made.register(collector)
    return made


def page(of: CollectorRegistry) -> bytes:
    """All metrics of a registry in Prometheus's text format."""
    return generate_latest(of)


def gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """A gauge with one label: a value for each value of the label."""
    family = GaugeMetricFamily(name, meaning, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family


def counters(name: str, meaning: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    """A counter with one label: a value for each value of the label. `name` ends in `_total`."""
    family = CounterMetricFamily(name, meaning, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
