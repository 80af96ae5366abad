"""The dashboard, the alert rules and the document name metrics that running processes have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from sqlalchemy import Engine

from keys.client import SignerClient
from tests.support.code_folders import code_folder
from tests.support.exposed import Exposed
from tests.support.promql import names
from tests.support.scan_factories import ScanAuthority, ScanService
from zpcode.api.http.metrics import ApiMetrics
from zpcode.embedded.servers import ServerAddresses
from zpcode.portal.complaints.metrics import FormCounters
from zpcode.projection import client
from zpcode.projection.comparison import ProjectionComparison
from zpcode.projection.head_keys import HeadKeys
from zpcode.services.batches import queue
from zpcode.services.continuity.gate import ContinuityGate
from zpcode.services.monitoring.statistics import InstallationStatistics
from zpcode.telemetry import metrics
from zpcode.wire import redis_keys
from zpcode.worker import Worker

OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
OF_A_SCRAPE = {"job", "instance"}


@pytest.fixture
def scrapes(
    service: ScanService,
    registry: ScanAuthority,
    engine: Engine,
    redis: Redis,
    addresses: ServerAddresses,
    tmp_path: Path,
) -> list[Exposed]:
    """One scrape of each of the three kinds of process."""
    service.get(registry.item())
    redis.xadd(redis_keys.SCANS, {"e": b"x"})
    api = ApiMetrics()
    api.count("GET", "/v1/batches", 200, 0.01)
    FormCounters(api.registry)
    scan = metrics.registry("scan", service.app.collector)
    return [Exposed.of(registry) for registry in (scan, _worker(engine, addresses, tmp_path).registry, api.registry)]


@pytest.fixture
def exposed(scrapes: list[Exposed]) -> Mapping[str, set[str]]:
    """Every metric of the three kinds of process, with its labels."""
    labels: dict[str, set[str]] = {}
    for scrape in scrapes:
        labels |= scrape.labels
    return labels


def _worker(engine: Engine, addresses: ServerAddresses, folder: Path) -> Worker:
    """A worker that has read all statistics and has one loop."""
    redis = client.connect(addresses.redis, seconds=5)
    signer = SignerClient(folder / "nobody")
    statistics = InstallationStatistics(
        engine, redis, signer, ProjectionComparison(engine, redis, 60), ContinuityGate(engine, ()), HeadKeys(tuple)
    )
    statistics.read_database()
    statistics.read_redis()
    jobs = queue.IssueQueue(addresses.database)
    worker = Worker(addresses.database, engine, redis, redis, signer, jobs, code_folder(folder), statistics=statistics)
    worker.loops.add("drain_all", 1)
    return worker


def _dashboard(root: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads((root / "deploy" / "grafana" / "zpcode.json").read_text("utf-8"))
    return board


def _expressions(root: Path) -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    board = _dashboard(root)
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"]
    for annotation in board["annotations"]["list"]:
        yield "annotation", annotation["expr"]
    for rule in yaml.safe_load((root / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]


def test_every_expression_names_metrics_and_labels_that_exist(exposed: Mapping[str, set[str]], root: Path) -> None:
    existing = {name: labels | OF_A_SCRAPE for name, labels in exposed.items()} | OF_PROMETHEUS
    wrong = [
        f"{where}: {name}{sorted(labels - existing.get(name, set()))}"
        for where, expression in _expressions(root)
        for name, labels in names(expression)
        if name not in existing or labels - existing[name]
    ]
    assert wrong == []


def test_every_legend_shows_a_label_that_is_left(root: Path) -> None:
    """`{{place}}` needs `sum by (place)`: another label would be drawn empty."""
    lost = [
        (panel["title"], target["legendFormat"])
        for panel in _dashboard(root)["panels"]
        for target in panel.get("targets", ())
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
        if not re.search(rf"by \([^)]*\b{label}\b[^)]*\)", target["expr"])
    ]
    assert lost == []


def test_every_metric_is_in_the_document_and_the_other_way_round(exposed: Mapping[str, set[str]], root: Path) -> None:
    document = (root / "docs" / "observing.md").read_text("utf-8")
    written = set(re.findall(r"^\| `(zpcode_\w+)", document, re.MULTILINE))
    ours = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed if name.startswith("zpcode_")}
    assert written == ours


def test_the_document_explains_each_metric_as_its_help_text_does(scrapes: list[Exposed], root: Path) -> None:
    document = (root / "docs" / "observing.md").read_text("utf-8")
    written = re.findall(r"^\| `(zpcode_\w+)` \|[^|]*\| (.+) \|$", document, re.MULTILINE)
    meanings = {name: text for scrape in scrapes for name, text in scrape.meanings.items()}
    wrong = {name: text for name, text in written if meanings[name.removesuffix("_total")] != text.replace("`", "")}
    assert wrong == {}


def test_the_panels_do_not_lie_over_each_other(root: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in _dashboard(root)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    numbers = [panel["id"] for panel in _dashboard(root)["panels"]]
    assert len(set(numbers)) == len(numbers)
