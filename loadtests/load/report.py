"""Writes the report of a run: `index.html` for people, `result.json` for programs. Locust writes its own beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.load.charts import Series, chart
from loadtests.load.figures import CONSUMER, FIGURES, GUESSER, ISSUE, SHOWN
from loadtests.load.tally import Tally, percentile
from loadtests.load.thresholds import Judged
from loadtests.users.verdicts import FORBIDDEN

PAGE: Final = "index.html"
RESULT: Final = "result.json"
LOCUST: Final = "locust.html"


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Facts about a run. `status` is its exit status, `points` its curve, `codes` the number of codes in the system.

    `cores` and `load_average` (one minute) are those of the leading machine. A load average above `cores` means that
    processes waited for a core.
    """

    profile: str
    zh: str
    en: str
    at: datetime
    host: str
    seconds: float
    rate: float
    codes: int
    points: Sequence[tuple[float, float]]
    status: int
    cores: int
    load_average: float


def write(
    out: Path, run: RunInfo, tally: Tally, figures: Mapping[str, float | None], judged: Sequence[Judged]
) -> None:  # fmt: skip
    """Write both files into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    result = {
        "profile": run.profile,
        "at": run.at.isoformat(timespec="seconds"),
        "host": run.host,
        "seconds": run.seconds,
        "scans_per_second": run.rate,
        "codes": run.codes,
        "cores": run.cores,
        "load_average": round(run.load_average, 2),
        "passed": run.status == 0,
        "figures": {name: _rounded(value) for name, value in figures.items()},
        "thresholds": [asdict(one) | {"met": one.met} for one in judged],
        "said": [[*key, count] for key, count in sorted(tally.answers.items())],
    }
    (out / RESULT).write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    (out / PAGE).write_text(_page(run, tally, figures, judged), "utf-8")


def _page(run: RunInfo, tally: Tally, figures: Mapping[str, float | None], judged: Sequence[Judged]) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    judged_names = {one.name for one in judged}
    return templates.get_template("report.html").render(
        run=run,
        verdict=_VERDICTS[run.status],
        judged=[(FIGURES[one.name], one, shown(one.figure, FIGURES[one.name][2]), _threshold(one)) for one in judged],
        others=[
            (FIGURES[name], shown(value, FIGURES[name][2]))
            for name, value in figures.items()
            if name not in judged_names
        ],
        answers=_answer_counts(tally),
        rates=Markup(chart(_rates(run, tally), run.seconds, "/s", _marks(tally))),  # noqa: S704 - our own SVG, its texts escaped
        times=Markup(chart(_times(tally), run.seconds, " ms", _marks(tally))),  # noqa: S704
        marked=bool(_marks(tally)),
        guessed=bool(tally.count(GUESSER)),
        locust=LOCUST,
    )


_VERDICTS: Final = {
    0: ("good", "通过", "passed"),
    1: ("bad", "未通过", "missed"),
    2: ("bad", "无法判定", "not to be judged"),
}


def shown(value: float | None, unit: str) -> str:
    """A figure as text, with its unit; a dash where it was not measured."""
    if value is None:
        return "—"
    if unit:
        return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:.4g}"


def _threshold(one: Judged) -> str:
    return f"{'≥' if one.least else '≤'} {shown(one.bar, FIGURES[one.name][2])}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _answer_counts(tally: Tally) -> list[tuple[str, str, str, int, bool]]:
    """Role, kind of scan, answer, count, and whether that answer fails the run."""
    forbidden = {pair for pairs in FORBIDDEN.values() for pair in pairs}
    return [
        (_label(role), _label(kind), _label(answer), count, (kind, answer) in forbidden)
        for (role, kind, answer), count in sorted(tally.answers.items())
        if role not in {ISSUE, SHOWN}
    ]


def _label(word: str) -> str:
    return f"{_WORDS[word]} {word}" if word in _WORDS else word


_WORDS: Final = {
    "consumer": "消费者", "guesser": "猜码者", "line": "产线", "regulator": "监管",
    "genuine": "真码", "withdrawn": "已撤销或召回", "changing": "正在变更", "unsealed": "无签章", "forged": "伪造",
    "preview": "预览", "good": "绿", "caution": "黄", "bad": "红", "neutral": "无法确认", "not_verified": "未通过验证",
    "headers": "仅头部", "too_many": "请稍候（429）", "error": "出错", "unreadable": "不可读", "nothing": "无应答",
}  # fmt: skip


def _marks(tally: Tally) -> list[float]:
    """The seconds at which a scan first showed a decision, where the run has at most four decisions."""
    first = _first(tally)
    moments = [second - first for second, times, _ in tally.seconds(SHOWN) if times]
    return [float(second) for second in moments] if len(moments) <= _FEW else []


_FEW: Final = 4


def _rates(run: RunInfo, tally: Tally) -> list[Series]:
    first = _first(tally)
    lines = [Series("wanted", "wanted", [(second, run.rate * share) for second, share in run.points])]
    for role, style in ((CONSUMER, "made"), (GUESSER, "guessed")):
        points = [(second - first, float(sum(times.values()))) for second, times, _ in tally.seconds(role)]
        lines += [Series(role, style, points)] if points else []
    failed = [(second - first, float(count)) for second, _, count in tally.seconds(CONSUMER)]
    return [*lines, Series("failed", "failed", failed)]


def _times(tally: Tally) -> list[Series]:
    first, seconds = _first(tally), tally.seconds(CONSUMER)
    percentiles: tuple[tuple[str, float], ...] = (("p99", 0.99), ("p95", 0.95), ("p50", 0.50))
    return [
        Series(name, name, [(second - first, percentile(times, share)) for second, times, _ in seconds])
        for name, share in percentiles
    ]


def _first(tally: Tally) -> int:
    """The Unix second of the first answer."""
    seconds: list[Any] = tally.seconds(CONSUMER)
    return int(seconds[0][0]) if seconds else 0
