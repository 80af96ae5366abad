"""The tree: tests stand where their source stands, and every package is built into the distribution."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from tests.quick import touched_folders

KINDS = {"architecture", "attack", "browser", "e2e", "faults", "support", "vectors"}
"""Folders of tests that are about the whole system, or help others."""


def tracked(root: Path, *patterns: str) -> list[Path]:
    """Files under version control."""
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=root, check=True, capture_output=True, text=True)
    return [Path(line) for line in listed.stdout.splitlines()]


def test_the_tree_of_tests_mirrors_the_tree_of_the_source(root: Path) -> None:
    folders = {path.relative_to("tests").parent for path in tracked(root, "tests/**/test_*.py")}
    mirrored = {folder for folder in folders if folder.parts[0] not in KINDS}
    assert len(mirrored) > 20
    assert [str(folder) for folder in sorted(mirrored) if not (root / folder).is_dir()] == []


def test_no_test_stands_at_the_top(root: Path) -> None:
    assert [path for path in tracked(root, "tests/test_*.py") if len(path.parts) == 2] == []


def test_every_package_is_in_the_distribution(root: Path) -> None:
    """Setuptools is given the packages by name: one that is missing is missed only where the wheel is installed."""
    listed = set(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"])
    packages = tracked(root, "zpcode/**/__init__.py", "scanweb/**/__init__.py", "keys/**/__init__.py",
                       "zpcode/__init__.py", "scanweb/__init__.py", "keys/__init__.py")  # fmt: skip
    assert listed == {".".join(path.parent.parts) for path in packages}


def test_quick_runs_the_tests_of_what_is_changed(root: Path) -> None:
    changed = ["zpcode/rules/status/targets.py", "tests/zpcode/store/test_store.py", "README.md", "docs/keys.md"]
    assert touched_folders(changed, root) == {"tests/zpcode/rules/status", "tests/zpcode/store", "tests/docs"}
