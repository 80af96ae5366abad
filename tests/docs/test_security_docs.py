"""docs/security.md: every test and file that it names exists, and no chapter of a catalogue is left out."""

from __future__ import annotations

import re
from pathlib import Path


def _page(root: Path) -> str:
    return (root / "docs" / "security.md").read_text("utf-8")


def test_every_test_and_file_that_the_page_names_exists(root: Path) -> None:
    named = re.findall(r"`((?:tests|deploy|zpcode|scanweb|keys)/[^`]+)`", _page(root))
    assert len(named) > 50
    assert [path for path in named if not (root / path).exists()] == []


def test_every_chapter_of_asvs_has_a_row(root: Path) -> None:
    """ASVS 5.0.0 has the chapters V1 to V17. A row says what holds, or why something does not."""
    rows = re.findall(r"^\| V(\d+) [^|]+\|([^|]+)\|([^|]+)\|([^|]+)\|$", _page(root), re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 18))
    for number, holds, test, missing in rows:
        assert "`tests/" in test or len(missing) > 10 or "not used" in holds, (
            f"V{number} is not shown and not explained"
        )
