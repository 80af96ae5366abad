"""Compares the figures of a run with `thresholds.toml`.

Each table of the file is a profile; a key is the name of a figure with `_max` or `_min`. A profile without thresholds, an
unknown name and a figure that was not measured are errors. Three thresholds cannot be changed and are not in the file: no
withdrawn code shown good, no forged code accepted, no crash of a virtual user.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtests.load.figures import FIGURES
from loadtests.users.verdicts import FORBIDDEN
from zpcode.errors import Finding, Findings, Refused, Text

DEFAULT: Final = Path(__file__).with_name("thresholds.toml")
ALWAYS: Final = {f"{name}_max": 0.0 for name in (*FORBIDDEN, "crashes")}


@dataclass(frozen=True, slots=True)
class Judged:
    """One threshold (`bar`) and its figure. `least` means that the figure must be at least the threshold, else at most."""

    name: str
    least: bool
    bar: float
    figure: float

    @property
    def met(self) -> bool:
        """Whether the figure meets the threshold."""
        return self.figure >= self.bar if self.least else self.figure <= self.bar


def read(path: Path, profile: str) -> dict[str, float]:
    """The thresholds of a profile, with those of every profile. Raises Refused with every error in the file."""
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(Text(f"{path} 无法读取：{error}", f"{path} cannot be read: {error}"), ()) from error
    findings = Findings()
    own = tables.get(profile)
    if not isinstance(own, dict) or not own:
        findings.add("no_thresholds", f"没有 [{profile}] 的阈值", f"there are no thresholds for [{profile}]")
        own = {}
    for key, value in own.items():
        name, _, kind = key.rpartition("_")
        if key in ALWAYS or name not in FIGURES or kind not in {"max", "min"}:
            findings.add(
                "unknown", f"[{profile}] 未知的阈值 {key}", f"[{profile}] {key} is not a known threshold", where=key
            )
        elif isinstance(value, bool) or not isinstance(value, int | float):
            findings.add("number", f"[{profile}] {key} 应为数", f"[{profile}] {key} must be a number", where=key)
    findings.refuse(f"{path.name} 有误", f"{path.name} has errors")
    return {key: float(value) for key, value in own.items()} | ALWAYS


def judge(thresholds: Mapping[str, float], figures: Mapping[str, float | None]) -> list[Judged]:
    """Each threshold with its figure. Raises Refused with every figure that was not measured."""
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
