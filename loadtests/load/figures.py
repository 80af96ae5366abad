"""The figures of a run, from its tally and from what the system reports. None means not measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtests.load.tally import Tally, percentile
from loadtests.users.verdicts import FORBIDDEN, Answer, ScanKind

CONSUMER: Final = "consumer"
GUESSER: Final = "guesser"
LINE: Final = "line"
REGULATOR: Final = "regulator"
ISSUE: Final = "issue"  # the time from the order of a batch until its file
SHOWN: Final = "seen"  # the time from the API's answer to a decision until the first scan that shows it

# name -> (Chinese, English, unit)
FIGURES: Final[dict[str, tuple[str, str, str]]] = {
    "scans": ("消费者扫码次数", "scans by consumers", ""),
    "scans_per_s": ("消费者每秒扫码", "scans by consumers a second", "/s"),
    "rate_share": ("完成的扫码占计划的比例", "share of the planned scans that were made", ""),
    "failure_share": ("消费者得到错误结果的比例", "share of consumers' answers that were wrong", ""),
    "too_many_share": ("消费者被限流（429）的比例", "share of consumers' answers with 429", ""),
    "p50_ms": ("消费者响应时间中位数", "consumers' response time, median", "ms"),
    "p95_ms": ("消费者响应时间 p95", "consumers' response time, p95", "ms"),
    "p99_ms": ("消费者响应时间 p99", "consumers' response time, p99", "ms"),
    "guesses": ("猜码次数", "guesses", ""),
    "guesses_refused_share": ("猜码被限流（429）的比例", "share of guesses answered with 429", ""),
    "batches": ("产线下单并取得的批次", "batches that lines ordered and fetched", ""),
    "issue_p95_ms": ("从下单到文件可取 p95", "from an order to its file, p95", "ms"),
    "line_failure_share": ("产线请求失败的比例", "share of lines' requests that failed", ""),
    "decisions": ("监管决定次数", "decisions by the regulator", ""),
    "seen_p99_ms": ("从决定到扫码可见 p99", "from a decision to the first scan that shows it, p99", "ms"),
    "regulator_failure_share": ("监管请求失败的比例", "share of the regulator's requests that failed", ""),
    "withdrawn_scans": ("扫到已召回、已撤销码的次数", "scans of withdrawn codes", ""),
    "withdrawn_shown_good": ("已撤销却显示为绿", "withdrawn codes shown good", ""),
    "forged_accepted": ("伪造却被接受", "forged codes accepted", ""),
    "dropped_scans": ("丢失的扫码记录", "scans that were not recorded", ""),
    "crashes": ("虚拟用户自身出错", "virtual users that failed themselves", ""),
}


@dataclass(frozen=True, slots=True)
class Run:
    """Facts about a run besides its tally. `planned` counts scans, `dropped` those the scan service did not record (None: unknown)."""

    seconds: float
    planned: float
    dropped: int | None
    crashes: int


def figures(tally: Tally, run: Run) -> dict[str, float | None]:
    """Every figure by its name; None where the run had nothing to measure it with."""
    scans, guesses = tally.count(CONSUMER), tally.count(GUESSER)
    times, issued, shown = tally.steps(CONSUMER), tally.steps(ISSUE), tally.steps(SHOWN)
    values: dict[str, float | None] = {
        "scans": scans,
        "scans_per_s": scans / run.seconds if run.seconds else None,
        "rate_share": _share(scans, run.planned),
        "failure_share": _share(tally.failures(CONSUMER), scans),
        "too_many_share": _share(tally.count(CONSUMER, answer=Answer.TOO_MANY), scans),
        "p50_ms": percentile(times, 0.50),
        "p95_ms": percentile(times, 0.95),
        "p99_ms": percentile(times, 0.99),
        "guesses": guesses,
        "guesses_refused_share": _share(tally.count(GUESSER, answer=Answer.TOO_MANY), guesses),
        "batches": sum(issued.values()),
        "issue_p95_ms": percentile(issued, 0.95),
        "line_failure_share": _share(tally.failures(LINE), tally.count(LINE)),
        "decisions": sum(shown.values()),
        "seen_p99_ms": percentile(shown, 0.99),
        "regulator_failure_share": _share(tally.failures(REGULATOR), tally.count(REGULATOR)),
        "withdrawn_scans": sum(count for (_, kind, _), count in tally.answers.items() if kind == ScanKind.WITHDRAWN),
        "dropped_scans": run.dropped,
        "crashes": run.crashes,
    }
    for name, pairs in FORBIDDEN.items():
        values[name] = sum(count for (_, kind, answer), count in tally.answers.items() if (kind, answer) in pairs)
    return values


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
