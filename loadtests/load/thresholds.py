"""Whether a run has passed: its figures against `thresholds.toml`.

A table of the file is a profile, its keys are figures with `_max` or `_min` behind their names. What cannot be
judged is no pass: a profile without thresholds, a name that is no figure, a figure that was never measured. Two
thresholds stand in no file because nobody may change them: no withdrawn code shown good, no forged one accepted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.load.figures import FIGURES
from loadtests.users.verdicts import GRAVE
from zpcode.errors import Finding, Findings, Refused, Text

DEFAULT: Final = Path(__file__).with_name("thresholds.toml")
ALWAYS: Final = {f"{name}_max": 0.0 for name in (*GRAVE, "crashes")}


@dataclass(frozen=True, slots=True)
class Judged:
    """One threshold, the figure held against it, and whether it was met. `least`: the figure has to be that or more."""

    name: str
    least: bool
    bar: float
    figure: float

    @property
    def met(self) -> bool:
        """Whether it was."""
        return self.figure >= self.bar if self.least else self.figure <= self.bar


def read(path: Path, profile: str) -> dict[str, float]:
    """The thresholds of a profile, and those of every profile. Raises Refused with everything that is wrong."""
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(Text(f"{path} 无法读取：{error}", f"{path} cannot be read: {error}"), ()) from error
    found = Findings()
    own = tables.get(profile)
    if not isinstance(own, dict) or not own:
        found.add("no_thresholds", f"没有 [{profile}] 的阈值", f"there are no thresholds for [{profile}]")
        own = {}
    for key, value in own.items():
        name, _, kind = key.rpartition("_")
        if key in ALWAYS or name not in FIGURES or kind not in {"max", "min"}:
            found.add("unknown", f"[{profile}] 不认识 {key}", f"[{profile}] {key} is none that is known", where=key)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            found.add("number", f"[{profile}] {key} 应为数", f"[{profile}] {key} has to be a number", where=key)
    found.refuse(f"{path.name} 有误", f"{path.name} is wrong")
    return {key: float(value) for key, value in own.items()} | ALWAYS


def judge(thresholds: Mapping[str, float], figures: Mapping[str, float | None]) -> list[Judged]:
    """Each threshold with its figure. Raises Refused, with every name, where figures were not measured."""
    judged, missing = [], []
    for key, bar in thresholds.items():
        name, _, kind = key.rpartition("_")
        figure = figures.get(name)
        if figure is None:
            text = Text(f"{name} 没有测到", f"{name} was not measured")
            missing.append(Finding("not_measured", text, key))
        else:
            judged.append(Judged(name, kind == "min", bar, figure))
    if missing:
        names = ", ".join(finding.where for finding in missing)
        raise Refused(Text(f"没有测到：{names}", f"not measured: {names}"), tuple(missing))
    return judged
