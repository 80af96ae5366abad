"""The style sheet and the script of the portal."""

from __future__ import annotations

import re
from pathlib import Path

STATIC = Path("zpcode/portal/shell/static")


def rules_of(sheet: str) -> dict[str, set[str]]:
    """Selectors of a sheet's light part with their declarations."""
    light = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL).partition("@media")[0]
    rules: dict[str, set[str]] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", light):
        for selector in selectors.split(","):
            rules.setdefault(selector.strip(), set()).update(part for part in body.split(";") if part)
    return rules


def colours(sheet: str, *, dark: bool) -> set[str]:
    """The colours of one half of a sheet."""
    light, _, rest = sheet.partition("@media screen and (prefers-color-scheme:dark)")
    assert rest
    return set(re.findall(r"#[0-9a-f]{3,6}\b", rest if dark else light))


def test_portal_and_scan_page_look_the_same(root: Path) -> None:
    """The same colours, light and dark, and the same rules for common elements; width and errors differ."""
    portal = (root / STATIC / "form.css").read_text("utf-8")
    scan = (root / "scanweb/page/static/page.css").read_text("utf-8")
    assert colours(portal, dark=False) <= colours(scan, dark=False)
    assert colours(portal, dark=True) - {"#ff9aa6"} <= colours(scan, dark=True)
    here, there = rules_of(portal), rules_of(scan)
    shared = {"*", "html", "body", "a", "h1", "h2", ".card", ".button", "button", "input[type=text]", ".small", ".skip"}
    assert shared <= set(here) & set(there)
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}
    assert len(portal.encode()) <= 4096


def test_the_script_is_small_and_old_browsers_read_it(root: Path) -> None:
    """ES5: no arrow, no let or const, no template, no optional chaining."""
    script = (root / STATIC / "form.js").read_text("utf-8")
    assert len(script.encode()) <= 2048
    assert not re.search(r"=>|\b(let|const|class|async|await)\b|`|\?\.|\?\?", script)
