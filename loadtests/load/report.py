"""What a run leaves behind in its folder: `index.html` for people, `result.json` for programs, Locust's own report beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.load.charts import Line, chart
from loadtests.load.figures import CONSUMER, FIGURES, GUESSER, ISSUE, SEEN
from loadtests.load.tally import Tally, percentile
from loadtests.load.thresholds import Judged
from loadtests.users.verdicts import GRAVE

PAGE: Final = "index.html"
RESULT: Final = "result.json"
LOCUST: Final = "locust.html"


@dataclass(frozen=True, slots=True)
class Told:
    """What a report says of the run itself. `status` is its exit status, `points` its curve, `codes` the system's size.

    `cores` of the machine that leads, and `busy`, its load average of the last minute: above `cores` somebody waited for one.
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
    busy: float


def write(
    out: Path, told: Told, tally: Tally, figures: Mapping[str, float | None], judged: Sequence[Judged]
) -> None:  # fmt: skip
    """Write both files into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    result = {
        "profile": told.profile,
        "at": told.at.isoformat(timespec="seconds"),
        "host": told.host,
        "seconds": told.seconds,
        "scans_per_second": told.rate,
        "codes": told.codes,
        "cores": told.cores,
        "load_average": round(told.busy, 2),
        "passed": told.status == 0,
        "figures": {name: _rounded(value) for name, value in figures.items()},
        "thresholds": [asdict(one) | {"met": one.met} for one in judged],
        "said": [[*key, count] for key, count in sorted(tally.said.items())],
    }
    (out / RESULT).write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", "utf-8")
    (out / PAGE).write_text(_page(told, tally, figures, judged), "utf-8")


def _page(told: Told, tally: Tally, figures: Mapping[str, float | None], judged: Sequence[Judged]) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    barred = {one.name for one in judged}
    return templates.get_template("report.html").render(
        told=told,
        verdict=_VERDICTS[told.status],
        judged=[(FIGURES[one.name], one, shown(one.figure, FIGURES[one.name][2]), _bar(one)) for one in judged],
        others=[
            (FIGURES[name], shown(value, FIGURES[name][2])) for name, value in figures.items() if name not in barred
        ],
        said=_matrix(tally),
        rates=Markup(chart(_rates(told, tally), told.seconds, "/s", _marks(tally))),  # noqa: S704 - our own SVG, its texts escaped
        times=Markup(chart(_times(tally), told.seconds, " ms", _marks(tally))),  # noqa: S704
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
    """A figure for people: shares below one hundred as per cent, a dash for what was not measured."""
    if value is None:
        return "—"
    if unit:
        return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:.4g}"


def _bar(one: Judged) -> str:
    return f"{'≥' if one.least else '≤'} {shown(one.bar, FIGURES[one.name][2])}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _matrix(tally: Tally) -> list[tuple[str, str, str, int, bool]]:
    """Who scanned what and was told what, how often, and whether that fails the run."""
    grave = {pair for pairs in GRAVE.values() for pair in pairs}
    return [
        (_said(who), _said(what), _said(told), count, (what, told) in grave)
        for (who, what, told), count in sorted(tally.said.items())
        if who not in {ISSUE, SEEN}
    ]


def _said(word: str) -> str:
    return f"{_WORDS[word]} {word}" if word in _WORDS else word


_WORDS: Final = {
    "consumer": "消费者", "guesser": "猜码者", "line": "产线", "regulator": "监管",
    "genuine": "真码", "withdrawn": "已撤销或召回", "changing": "正在变更", "unsealed": "无签名", "forged": "伪造",
    "preview": "预览", "good": "绿", "caution": "黄", "bad": "红", "neutral": "无法确认", "not_verified": "未通过验证",
    "headers": "仅头部", "too_many": "请稍候（429）", "error": "出错", "unreadable": "不可读", "nothing": "无应答",
}  # fmt: skip


def _marks(tally: Tally) -> list[float]:
    """When decisions were first seen, in a run that has few of them."""
    first = _first(tally)
    seen = [second - first for second, times, _ in tally.seconds(SEEN) if times]
    return [float(second) for second in seen] if len(seen) <= _FEW else []


_FEW: Final = 4


def _rates(told: Told, tally: Tally) -> list[Line]:
    first = _first(tally)
    lines = [Line("wanted", "wanted", [(second, told.rate * share) for second, share in told.points])]
    for who, style in ((CONSUMER, "made"), (GUESSER, "guessed")):
        points = [(second - first, float(sum(times.values()))) for second, times, _ in tally.seconds(who)]
        lines += [Line(who, style, points)] if points else []
    failed = [(second - first, float(count)) for second, _, count in tally.seconds(CONSUMER)]
    return [*lines, Line("failed", "failed", failed)]


def _times(tally: Tally) -> list[Line]:
    first, seconds = _first(tally), tally.seconds(CONSUMER)
    wanted: tuple[tuple[str, float], ...] = (("p99", 0.99), ("p95", 0.95), ("p50", 0.50))
    return [
        Line(name, name, [(second - first, percentile(times, share)) for second, times, _ in seconds])
        for name, share in wanted
    ]


def _first(tally: Tally) -> int:
    """The Unix second in which the run began, as far as its answers tell."""
    seconds: list[Any] = tally.seconds(CONSUMER)
    return int(seconds[0][0]) if seconds else 0
