"""CONTRIBUTING.md is true: every path in it exists, and so do its commands; every folder has its row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PATH = re.compile(r"`((?:zpcode|scanweb|keys|loadtests|tests|docs|\.ci)[\w/.-]*|[\w-]+\.(?:toml|txt|md))`")


@pytest.fixture
def page(root: Path) -> str:
    """The page as it is checked in."""
    return (root / "CONTRIBUTING.md").read_text("utf-8")


def test_every_path_it_names_exists(page: str, root: Path) -> None:
    """`NAME` stands for what the reader will add."""
    paths = {path for path in PATH.findall(page) if "NAME" not in path}
    assert len(paths) > 35
    assert sorted(path for path in paths if not (root / path).exists()) == []


def test_every_make_target_is_in_its_list_of_commands(page: str, root: Path) -> None:
    """Except targets that are part of another, and clean-up."""
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z-]+)", page, re.MULTILINE)) == targets - {"help", "clean", "browser"}


def test_the_tests_by_hand_exist(page: str, root: Path) -> None:
    """The file has a test for the word after `-k`, and the marker after `-m` is declared."""
    ((file, word),) = re.findall(r"^\.venv/bin/pytest (tests/\S+\.py) -k (\w+)", page, re.MULTILINE)
    assert re.search(rf'(def test_|").*{word}', (root / file).read_text("utf-8"))
    (marker,) = re.findall(r'^\.venv/bin/pytest -m "not (\w+)"', page, re.MULTILINE)
    assert f'  "{marker}: ' in (root / "pyproject.toml").read_text("utf-8")


def test_every_folder_has_its_row(page: str, root: Path) -> None:
    """The first column of "Where code belongs" names every package at the top of the three trees, and nothing twice."""
    table = page.partition("## Where code belongs")[2].partition("##")[0]
    rows = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    packages = {f"zpcode/{init.parent.name}" for init in (root / "zpcode").glob("*/__init__.py")}
    assert sorted(named) == sorted(packages | {"zpcode/worker.py", "scanweb", "keys", "loadtests"})
