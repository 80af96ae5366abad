"""The figures of a run: what its tally comes to, beside what the system says of itself. None was not measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadtests.load.tally import Tally, percentile
from loadtests.users.verdicts import GRAVE, Said, What

CONSUMER: Final = "consumer"
GUESSER: Final = "guesser"
LINE: Final = "line"
REGULATOR: Final = "regulator"
ISSUE: Final = "issue"  # a batch, from its order to its file
SEEN: Final = "seen"  # a decision, from the API's answer to the first scan that shows it

# name -> (Chinese, English, unit)
FIGURES: Final[dict[str, tuple[str, str, str]]] = {
    "scans": ("消费者扫码次数", "scans by consumers", ""),
    "scans_per_s": ("消费者每秒扫码", "scans by consumers a second", "/s"),
    "rate_share": ("完成的扫码占计划的比例", "share of the planned scans that were made", ""),
    "failure_share": ("消费者得到错误结果的比例", "share of consumers who were told wrong", ""),
    "too_many_share": ("消费者被限流（429）的比例", "share of consumers who were told to wait (429)", ""),
    "p50_ms": ("消费者响应时间中位数", "consumers' response time, median", "ms"),
    "p95_ms": ("消费者响应时间 p95", "consumers' response time, p95", "ms"),
    "p99_ms": ("消费者响应时间 p99", "consumers' response time, p99", "ms"),
    "guesses": ("猜码次数", "guesses", ""),
    "guesses_refused_share": ("猜码被限流（429）的比例", "share of guesses that were told to wait (429)", ""),
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
    "crashes": ("虚拟用户自身出错", "virtual users that broke", ""),
}


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a run beside its tally. `planned` scans, `dropped` by the scan service (None: it did not say)."""

    seconds: float
    planned: float
    dropped: int | None
    crashes: int


def figures(tally: Tally, run: Run) -> dict[str, float | None]:
    """Every figure by its name; what nobody did in this run was not measured."""
    scans, guesses = tally.count(CONSUMER), tally.count(GUESSER)
    times, issued, seen = tally.steps(CONSUMER), tally.steps(ISSUE), tally.steps(SEEN)
    found: dict[str, float | None] = {
        "scans": scans,
        "scans_per_s": scans / run.seconds if run.seconds else None,
        "rate_share": _share(scans, run.planned),
        "failure_share": _share(tally.failures(CONSUMER), scans),
        "too_many_share": _share(tally.count(CONSUMER, told=Said.TOO_MANY), scans),
        "p50_ms": percentile(times, 0.50),
        "p95_ms": percentile(times, 0.95),
        "p99_ms": percentile(times, 0.99),
        "guesses": guesses,
        "guesses_refused_share": _share(tally.count(GUESSER, told=Said.TOO_MANY), guesses),
        "batches": sum(issued.values()),
        "issue_p95_ms": percentile(issued, 0.95),
        "line_failure_share": _share(tally.failures(LINE), tally.count(LINE)),
        "decisions": sum(seen.values()),
        "seen_p99_ms": percentile(seen, 0.99),
        "regulator_failure_share": _share(tally.failures(REGULATOR), tally.count(REGULATOR)),
        "withdrawn_scans": sum(n for (_, what, _), n in tally.said.items() if what == What.WITHDRAWN),
        "dropped_scans": run.dropped,
        "crashes": run.crashes,
    }
    for name, pairs in GRAVE.items():
        found[name] = sum(count for (_, what, told), count in tally.said.items() if (what, told) in pairs)
    return found


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
