"""Every file, name and section that a document refers to exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PATH = re.compile(r"`((?:zpcode|scanweb|keys|tests|loadtests|deploy|docs)/[\w/-]+(?:\.\w+)+)`")
DEFINED = re.compile(r"`((?:zpcode|scanweb|keys)/[\w/]+\.py)`((?:,?\s+(?:and\s+)?`\w+\(\)`)+)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#]*)#([^)]+)\)")
KINDS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@pytest.fixture
def pages(root: Path) -> dict[Path, str]:
    """The documents and their texts."""
    paths = [root / "README.md", root / "loadtests" / "README.md", *(root / "docs").rglob("*.md")]
    return {path: path.read_text("utf-8") for path in paths}


def test_every_file_that_a_document_names_exists(pages: dict[Path, str], root: Path) -> None:
    """`NAME` and `TAG` stand for what the reader will add."""
    named = {path for text in pages.values() for path in PATH.findall(text) if not re.search(r"NAME|TAG", path)}
    assert len(named) > 80
    assert sorted(path for path in named if not (root / path).exists()) == []


def test_every_name_is_defined_in_the_file_it_is_said_to_be_in(pages: dict[Path, str], root: Path) -> None:
    """Written as a file and `name()` behind it."""
    named = {
        (file, name)
        for text in pages.values()
        for file, names in DEFINED.findall(text)
        for name in re.findall(r"`(\w+)\(\)`", names)
    }
    assert len(named) > 35
    defined = {file: set(_defined(root / file)) for file, _ in named}
    assert sorted((file, name) for file, name in named if name not in defined[file]) == []


def test_every_section_that_is_linked_exists(pages: dict[Path, str]) -> None:
    links = {
        (page, target or page.name, anchor) for page, text in pages.items() for target, anchor in LINK.findall(text)
    }
    assert len(links) > 5
    sections = {page.resolve(): set(_anchors(text)) for page, text in pages.items()}
    broken = [
        f"{page.name}: {target}#{anchor}"
        for page, target, anchor in links
        if anchor not in sections.get((page.parent / target).resolve(), set())
    ]
    assert broken == []


def _defined(file: Path) -> Iterator[str]:
    """The functions and classes at the top of a module."""
    return (node.name for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, KINDS))


def _anchors(text: str) -> Iterator[str]:
    """The anchors that GitHub gives to the headings of a page."""
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
