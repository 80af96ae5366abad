"""docs/limits.md: each row has a bound, names code that exists, and a test that exists and is not skipped."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SAME = ("the same", "both")


def _rows(root: Path) -> list[list[str]]:
    """The cells of every row of the page's tables, without the header lines."""
    lines = [line for line in (root / "docs" / "limits.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[-1] != "Test"]


def _files(root: Path, cell: str, folders: tuple[str, ...]) -> list[Path]:
    """The files that a cell names, by path or by name alone. Raises StopIteration for one that does not exist."""
    names = re.findall(r"`([^`]+\.(?:py|conf|service))`", cell)
    everything = [path for folder in folders for path in (root / folder).rglob("*.*")]
    return [next(path for path in everything if str(path).endswith(f"/{name}")) for name in names]


def test_every_row_has_a_bound_and_its_code_exists(root: Path) -> None:
    rows = _rows(root)
    assert len(rows) > 35
    for what, bound, code, test in rows:
        assert what
        assert bound
        assert test
        assert _files(root, code, ("zpcode", "scanweb", "keys", "deploy")), what


def test_every_row_has_a_test_that_exists(root: Path) -> None:
    """A row may refer to the row before. A test that is named is defined in a file that its row names."""
    before: list[Path] = []
    for what, _, _, test in _rows(root):
        files = before if test in SAME else _files(root, test, ("tests",))
        assert files, what
        sources = "".join(path.read_text("utf-8") for path in files)
        for name in re.findall(r"`(test_\w+)`", test):
            assert re.search(rf"^(?:async )?def {name}\(", sources, re.MULTILINE), name
        before = files


@pytest.mark.parametrize(
    "subject", ["scan", "histor", "salt", "log line", "label", "picture", "connection", "key", "head"]
)
def test_the_page_speaks_of_everything_that_is_kept(root: Path, subject: str) -> None:
    """What a stranger reaches without credentials, and what a key of an enterprise reaches."""
    assert any(subject in row[0] for row in _rows(root))
