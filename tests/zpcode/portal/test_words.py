"""The words of the portal: shell and sections, every language."""

from __future__ import annotations

import json
import re
from pathlib import Path

from zpcode.rules.complaints.complaint import ComplaintKind, ComplaintState, ComplaintStep

PORTAL = Path("zpcode/portal")
ERRORS = (400, 403, 404, 405, 408, 413, 429, 500, 503)
BY_VALUE = (
    {f"kind.{kind}" for kind in ComplaintKind}
    | {f"state.{state}" for state in ComplaintState}
    | {f"step.{step}" for step in ComplaintStep}
    | {f"error.{status}.{part}" for status in ERRORS for part in ("title", "text")}
    | {"format.moment"}
)
"""Keys that templates and code put together."""


def words_of(folder: Path) -> dict[str, dict[str, str]]:
    """The words of the shell or of one section, by language."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in (folder / "i18n").glob("*.json")}


def folders(root: Path) -> list[Path]:
    """The shell and every section."""
    return sorted(path.parent for path in (root / PORTAL).glob("*/i18n"))


def test_every_language_says_the_same(root: Path) -> None:
    """The same keys, with the same places to fill, in each folder."""
    languages = set(words_of(root / PORTAL / "shell"))
    assert {"zh-CN", "en"} <= languages
    for folder in folders(root):
        words = words_of(folder)
        assert set(words) == languages
        places = [{key: set(re.findall(r"\{(\w+)\}", text)) for key, text in one.items()} for one in words.values()]
        assert all(one == places[0] for one in places)
        assert all(text.strip() for one in words.values() for text in one.values())


def test_every_key_is_used_and_none_is_missing(root: Path) -> None:
    keys = {key for folder in folders(root) for key in words_of(folder)["zh-CN"]}
    used = BY_VALUE | {f"language.{tag}" for tag in words_of(root / PORTAL / "shell")}
    sources = [*(root / PORTAL).glob("*/templates/*.html"), *(root / PORTAL).glob("*/routes.py")]
    templates = {path.name for path in sources}
    for source in sources:
        quoted = re.findall(r"[\"']((?:site|errors?|form|progress|same|find)\.[a-z_]+)[\"']", source.read_text("utf-8"))
        used |= set(quoted) - templates
    assert used == keys


def test_a_section_repeats_no_text_of_the_shell(root: Path) -> None:
    """A section that defines a key of the shell has another text for it."""
    shell = words_of(root / PORTAL / "shell")
    sections = [folder for folder in folders(root) if folder.name != "shell"]
    assert sections
    for folder in sections:
        for language, words in words_of(folder).items():
            assert not set(words.items()) & set(shell[language].items())
