"""Each alert is silent in normal operation, fires in its scenario, and links to its section of the runbook.

The scenarios are deploy/prometheus/alerts_test.yml, which Prometheus's own `promtool test rules` reads too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.promql import Series, evaluate

FOLDER: Final = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
CASES: Final[list[dict[str, Any]]] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text("utf-8"))["tests"]
STEP: Final = 15


def _seconds(text: str) -> int:
    """A duration such as `1m30s`."""
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


def _run(series: Series, until: int) -> None:
    """Evaluate every rule at every step and put what fires beside the series, as Prometheus does."""
    since: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
    for at in range(0, until + 1, STEP):
        for rule in RULES:
            result = evaluate(rule["expr"], series, at)
            assert isinstance(result, dict), rule["alert"]
            firing = {(rule["alert"], labels) for labels in result}
            since = {key: start for key, start in since.items() if key[0] != rule["alert"] or key in firing}
            for key in firing:
                if at - since.setdefault(key, at) >= _seconds(rule.get("for", "0s")):
                    labels = dict(key[1]) | {"__name__": "ALERTS", "alertname": rule["alert"], "alertstate": "firing"}
                    series.put(labels, at, 1.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_rules_behave_as_in_the_scenario(case: dict[str, Any]) -> None:
    for expected in case["promql_expr_test"]:
        series = Series(STEP)
        for one in case["input_series"]:
            series.add(one["series"], one["values"])
        at = _seconds(expected["eval_time"])
        _run(series, at)
        values = evaluate(expected["expr"], series, at)
        assert isinstance(values, dict)
        assert list(values.values()) == [sample["value"] for sample in expected["exp_samples"]], expected["eval_time"]


def test_every_alert_has_a_scenario_in_which_it_rests_and_fires() -> None:
    outcomes = {
        case["name"]: [sample["value"] for test in case["promql_expr_test"] for sample in test["exp_samples"]]
        for case in CASES[1:]
    }
    assert outcomes == {rule["alert"]: [0, 1] for rule in RULES}
    assert CASES[0]["name"] == "all is well"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any], root: Path) -> None:
    """In Chinese and English; the runbook has its section."""
    for text in (rule["annotations"]["summary"], rule["annotations"]["description"]):
        chinese, _, english = text.partition(" / ")
        assert re.search(r"[\u4e00-\u9fff]", chinese), text
        assert re.search(r"[a-z]{2}", re.sub(r"\{\{.*?\}\}", "", english)), text
        assert not re.search(r"[\u4e00-\u9fff]", english), text
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor == rule["alert"].lower()
    assert f"### {rule['alert']}\n" in (root / page).read_text("utf-8")
