"""`make lighthouse`: Lighthouse's figures of three pages on a simulated slow 4G phone, into build/lighthouse.json.

Each page is measured three times; the median of each figure counts. Exits with 1 if a bound is missed. Times depend on
the machine: therefore this is not a test.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.browser.chromium import HERE, needed
from tests.browser.gallery import ROOT, running

RUNS: Final = 3
PAGES: Final = (("verified-again", "zh-CN"), ("recalled", "en"), ("landing", "zh-CN"))
PROGRAM: Final = HERE / "node_modules" / "lighthouse" / "cli" / "index.js"
CATEGORIES: Final = ("performance", "accessibility", "best-practices")
AT_LEAST: Final = dict.fromkeys(CATEGORIES, 98)
AT_MOST: Final = {"largest_contentful_paint_ms": 1500, "cumulative_layout_shift": 0, "total_blocking_ms": 100}
AIMED_AT: Final = {"total_blocking_ms": 0}
"""Printed where it is missed, and no failure: the figure varies by 20 ms between runs of one page."""
TRANSIENT: Final = ("NO_NAVSTART", "NO_FCP", "NO_TRACING_STARTED")
"""Lighthouse's own words for a trace that Chromium did not deliver: nothing of the page was measured."""
TRIES: Final = 3
_AUDITS: Final = {
    "largest_contentful_paint_ms": "largest-contentful-paint",
    "cumulative_layout_shift": "cumulative-layout-shift",
    "total_blocking_ms": "total-blocking-time",
    "first_contentful_paint_ms": "first-contentful-paint",
    "bytes": "total-byte-weight",
}


def measured(url: str) -> dict[str, float]:
    """One run, repeated if Chromium delivered no trace. Raises RuntimeError if Lighthouse fails."""
    for attempt in range(1, TRIES + 1):
        try:
            return measure(url)
        except RuntimeError as error:
            if attempt == TRIES or not any(code in str(error) for code in TRANSIENT):
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def measure(url: str) -> dict[str, float]:
    """One run. Raises RuntimeError if Lighthouse fails."""
    command = [
        needed(shutil.which("node"), "node"), needed(PROGRAM, "Lighthouse"), url, "--quiet", "--output=json",
        f"--only-categories={','.join(CATEGORIES)}", "--chrome-flags=--headless=new --no-sandbox --disable-dev-shm-usage",
    ]  # fmt: skip
    environment = {**os.environ, "CHROME_PATH": needed(shutil.which("chromium"), "Chromium")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"Lighthouse ended with {done.returncode}")
    return figures(json.loads(done.stdout))


def figures(report: dict[str, Any]) -> dict[str, float]:
    """The figures of a report that count. Raises RuntimeError if the page could not be measured."""
    if "runtimeError" in report:
        error = report["runtimeError"]
        raise RuntimeError(f"{error.get('code', '')}: {error['message']}")
    scores = {name: round(100 * report["categories"][name]["score"], 1) for name in CATEGORIES}
    return scores | {name: round(report["audits"][audit]["numericValue"], 3) for name, audit in _AUDITS.items()}


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def missed(scores: dict[str, float]) -> list[str]:
    """The bounds that a page's figures miss, as sentences."""
    low = [f"{name} {scores[name]} < {bar}" for name, bar in AT_LEAST.items() if scores[name] < bar]
    return low + [f"{name} {scores[name]} > {bar}" for name, bar in AT_MOST.items() if scores[name] > bar]


def short_of_aim(scores: dict[str, float]) -> list[str]:
    """The aims that are not reached, as sentences."""
    return [f"{name} {scores[name]}, aimed at {aim}" for name, aim in AIMED_AT.items() if scores[name] > aim]


def main() -> int:
    """Measure all pages; the exit status is 1 if a bound is missed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--into", type=Path, default=ROOT / "build" / "lighthouse.json")
    asked.add_argument("--runs", type=int, default=RUNS)
    options = asked.parse_args()
    report: dict[str, Any] = {}
    with running() as stage:
        for name, language in PAGES:
            runs = [measured(stage.url(name, language)) for _ in range(options.runs)]
            scores = median(runs)
            report[f"{name} {language}"] = {"median": scores, "missed": missed(scores), "runs": runs}
            print(f"{name} {language}: {scores} {missed(scores) or 'ok'} {short_of_aim(scores) or ''}")  # noqa: T201 - a command prints its results
    options.into.parent.mkdir(parents=True, exist_ok=True)
    options.into.write_text(json.dumps(report, indent=1), "utf-8")
    return int(any(page["missed"] for page in report.values()))


if __name__ == "__main__":
    sys.exit(main())
