"""Phones without updates: the page does not depend on CSS or JavaScript that an Android WebView of 2016 cannot read."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser.chromium import HERE, needed

STATIC = HERE.parents[1] / "scanweb" / "page" / "static"
ACORN = HERE / "node_modules" / "acorn" / "bin" / "acorn"
NEW_VALUES = re.compile(
    r"var\(|env\(|clamp\(|\bmin\(|\bmax\(|color-mix\(|light-dark\(|okl|\blab\(|\blch\(|\d(dvh|svh|lvh|cqw)\b|\banywhere\b|"
    r"\bfit-content\b|rgba?\([^,)]+\s[^,)]+\)|#[0-9a-f]{8}\b|#[0-9a-f]{4}\b|\bsubgrid\b|display:\s*contents"
)
NEW_PROPERTIES = re.compile(
    r"(margin|padding|border|inset)-(inline|block)|^(inset|gap|row-gap|column-gap|aspect-ratio|place-\w+|translate|rotate|scale|accent-color)$"
)
NEW_SELECTORS = re.compile(r":(is|where|has|not\([^)]*,|focus-visible|focus-within|any-link|modal|popover-open)\b|&")
NEW_RULES = ("@layer", "@container", "@property", "@scope", "@starting-style", "@import", "@supports")
MEANS = re.compile(
    r"^(color|background|border|outline|fill|stroke|display|visibility|position|content|opacity|overflow|width|height|font)"
)


@dataclass(frozen=True)
class Rule:
    """One rule of a style sheet; declarations in their order."""

    selectors: tuple[str, ...]
    declarations: tuple[tuple[str, str], ...]


def rules(sheet: str) -> list[Rule]:
    """The rules of a style sheet, including those inside @media. The sheet must not have strings with braces."""
    plain = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    parsed = []
    for selectors, block in re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"@media[^{]*\{", "", plain)):
        pairs = tuple(
            (name.strip(), value.strip())
            for name, _, value in (part.partition(":") for part in block.split(";"))
            if value
        )
        parsed.append(Rule(tuple(part.strip(" \n}") for part in selectors.split(",")), pairs))
    return parsed


def faults(sheet: str) -> list[str]:
    """What an old WebView does not read: a new value or property without an old one before it, a selector that voids a rule."""
    reports = [f"{rule}: unknown to old WebViews" for rule in NEW_RULES if rule in sheet]
    for rule in rules(sheet):
        declared: set[str] = set()
        new = [selector for selector in rule.selectors if NEW_SELECTORS.search(selector)]
        if new and len(new) < len(rule.selectors):
            reports.append(f"{new[0]} voids the whole rule of {', '.join(rule.selectors)}")
        for name, value in rule.declarations:
            if name.startswith("--"):
                continue
            fallback = name in declared or (name == "overflow-wrap" and "word-wrap" in declared)
            if NEW_PROPERTIES.search(name) or (NEW_VALUES.search(value) and MEANS.search(name)):
                if not fallback:
                    reports.append(f"{rule.selectors[0]}: {name}: {value}")
            else:
                declared.add(name)
    return reports


def _parses(script: Path) -> subprocess.CompletedProcess[str]:
    node = needed(shutil.which("node"), "node")
    command = [node, needed(ACORN, "acorn"), "--ecma5", "--silent", str(script)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_scripts_are_written_in_the_language_of_2009(script: Path) -> None:
    """ECMAScript 5: an old WebView drops a whole file with one arrow function or one `?.`."""
    done = _parses(script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "newer", ["var a = b?.c;", "const a = 1;", "var f = () => 1;", "var t = `x`;", "async function f() {}"]
)
def test_a_newer_word_would_be_noticed(tmp_path: Path, newer: str) -> None:
    (tmp_path / "new.js").write_text(newer)
    assert _parses(tmp_path / "new.js").returncode != 0


@pytest.mark.parametrize("sheet", sorted(STATIC.glob("*.css")), ids=lambda path: path.name)
def test_no_style_that_means_something_is_lost(sheet: Path) -> None:
    assert faults(sheet.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "lost",
    ["a{color:var(--link)}", "a:is(.x,.y),b{color:red}", "a:focus-visible,b{outline:1px solid red}", "p{inset:0}",
     "@media print{a{background:color-mix(in srgb,red,blue)}}", "@layer x{a{color:red}}", "a{width:min(1rem,2rem)}"],
)  # fmt: skip
def test_a_lost_one_would_be_noticed(lost: str) -> None:
    assert faults(lost) != []


@pytest.mark.parametrize("kept", ["a{color:red;color:var(--link)}", "a:focus-visible{outline:1px solid}", "a{--x:red}"])
def test_one_with_a_fallback_is_let_through(kept: str) -> None:
    assert faults(kept) == []
