"""docs/architecture.md is true: every file and name in it exists, and the picture is what the contracts say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PATH = re.compile(r"`((?:zpcode|scanweb|keys|docs)/[\w/.]+)`")
NAMED = re.compile(r"`((?:zpcode|scanweb|keys)/[\w/]+\.py)`((?:,?\s+(?:and\s+)?`\w+\(\)`)+)")


@pytest.fixture
def page(root: Path) -> str:
    """The page as it is checked in."""
    return (root / "docs" / "architecture.md").read_text("utf-8")


def test_every_place_it_names_exists(page: str, root: Path) -> None:
    places = set(PATH.findall(page))
    assert len(places) > 40
    assert sorted(place for place in places if not (root / place).exists()) == []


def test_every_name_is_defined_in_the_file_it_is_said_to_be_in(page: str, root: Path) -> None:
    named = [(file, name) for file, names in NAMED.findall(page) for name in re.findall(r"`(\w+)\(\)`", names)]
    assert len(named) > 35
    for file, name in named:
        tree = ast.parse((root / file).read_text("utf-8"))
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        assert name in {node.name for node in tree.body if isinstance(node, kinds)}, f"{file} has no {name}"


def test_the_picture_is_drawn_from_the_contracts(root: Path) -> None:
    draw = "import runpy, sys; sys.stdout.write(runpy.run_path('docs/draw_architecture.py')['draw']())"
    drawn = subprocess.run([sys.executable, "-c", draw], cwd=root, check=True, capture_output=True).stdout
    assert drawn == (root / "docs" / "pictures" / "architecture.svg").read_bytes()
