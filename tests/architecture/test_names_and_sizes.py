"""What keeps the tree readable: a public class name means one thing, and files, functions and folders stay small."""

from __future__ import annotations

import ast
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("zpcode", "scanweb", "keys")
SAME_NAME_ON_PURPOSE: frozenset[str] = frozenset()
"""Public class names that two modules may define, each with a comment that says why. Three at most."""
MODULES_A_FOLDER = 16
ENTRIES_OF_SCANWEB = 12
LINES_A_FILE, MEDIAN_LINES_A_FILE = 400, 120
LINES_A_FUNCTION, SHARE_OF_FUNCTIONS, MEDIAN_LINES_A_FUNCTION = 18, 0.9, 8


def modules(root: Path, *packages: str) -> list[Path]:
    """Source files with something in them."""
    return [path for package in packages for path in sorted((root / package).rglob("*.py")) if path.stat().st_size]


def nodes(paths: list[Path]) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the syntax trees of these files, with the file."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            yield path, node


def defined_twice(paths: list[Path]) -> dict[str, list[str]]:
    """Public class names that more than one module defines, with the modules."""
    places: defaultdict[str, set[str]] = defaultdict(set)
    for path, node in nodes(paths):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            places[node.name].add(str(path))
    return {name: sorted(where) for name, where in places.items() if len(where) > 1}


def test_every_public_class_name_means_one_thing(root: Path) -> None:
    repeated = defined_twice(modules(root, *PACKAGES, "tests"))
    assert {name: where for name, where in repeated.items() if name not in SAME_NAME_ON_PURPOSE} == {}
    assert repeated.keys() >= SAME_NAME_ON_PURPOSE, "an exception that is not needed any more"
    assert len(SAME_NAME_ON_PURPOSE) <= 3


def test_a_class_name_of_two_modules_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("class Finding:\n    class _Private: ...\n")
    assert defined_twice(modules(tmp_path, ".")) == {"Finding": [str(tmp_path / "one.py"), str(tmp_path / "two.py")]}


def test_no_folder_is_overfull(root: Path) -> None:
    """Migrations aside: each change of the schema is one more file, and none is ever merged with another."""
    paths = [path for path in modules(root, *PACKAGES) if path.parent.name != "versions"]
    numbers = Counter(str(path.parent.relative_to(root)) for path in paths)
    assert {folder: number for folder, number in numbers.items() if number > MODULES_A_FOLDER} == {}
    shown = [path for path in (root / "scanweb").iterdir() if path.name not in {"__pycache__", "__init__.py"}]
    assert len(shown) <= ENTRIES_OF_SCANWEB


def lines_of(root: Path, *packages: str) -> dict[str, int]:
    """The number of lines of each file."""
    files = modules(root, *packages)
    return {path.relative_to(root).as_posix(): len(path.read_text("utf-8").splitlines()) for path in files}


def too_long(root: Path, *packages: str) -> dict[str, int]:
    """Files with more lines than a file may have, with their lines."""
    return {path: number for path, number in lines_of(root, *packages).items() if number > LINES_A_FILE}


@pytest.mark.parametrize("packages", [PACKAGES, ("loadtests",)])
def test_files_are_short(root: Path, packages: tuple[str, ...]) -> None:
    assert too_long(root, *packages) == {}
    assert statistics.median(lines_of(root, *packages).values()) <= MEDIAN_LINES_A_FILE


def test_files_of_tests_are_short(root: Path) -> None:
    """`tests/browser/node_modules` is not ours."""
    assert {path: number for path, number in too_long(root, "tests").items() if "node_modules" not in path} == {}


def test_a_file_that_is_too_long_is_noticed(tmp_path: Path) -> None:
    for lines in (LINES_A_FILE, LINES_A_FILE + 1):
        (tmp_path / f"lines_{lines}.py").write_text("pass\n" * lines)
    assert too_long(tmp_path, ".") == {f"lines_{LINES_A_FILE + 1}.py": LINES_A_FILE + 1}


@pytest.mark.parametrize("packages", [PACKAGES, ("loadtests",)])
def test_functions_are_short(root: Path, packages: tuple[str, ...]) -> None:
    """From `def` to the last line, the docstring included."""
    lines = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for _, node in nodes(modules(root, *packages))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert statistics.median(lines) <= MEDIAN_LINES_A_FUNCTION
    assert sum(number <= LINES_A_FUNCTION for number in lines) >= SHARE_OF_FUNCTIONS * len(lines)
