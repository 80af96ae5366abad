"""Names are nouns of what a thing is: a reader who meets `found` or `told` has to ask "what?"."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.architecture.test_names_and_sizes import PACKAGES, modules, nodes

VAGUE = frozenset({"told", "found", "seen", "held", "look", "looks", "goes_on"})


def bound_name(node: ast.AST) -> str:
    """The name that a node binds: of a function, class, argument, variable or attribute; empty if it binds none."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return name
        case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
            return name
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            return name
    return ""


def vague_names(paths: list[Path]) -> dict[str, set[str]]:
    """Names that say nothing, by file. Leading underscores and case make no difference."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for path, node in nodes(paths):
        name = bound_name(node)
        if name.lstrip("_").lower() in VAGUE:
            names[str(path)].add(name)
    return dict(names)


def test_every_name_says_what_it_is(root: Path) -> None:
    assert vague_names(modules(root, *PACKAGES, "loadtests", "tests")) == {}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("found = 1", "found"),
        ("told: int", "told"),
        ("for seen in (): ...", "seen"),
        ("[held for held in ()]", "held"),
        ("with open('') as found: ...", "found"),
        ("(look := 1)", "look"),
        ("def goes_on(): ...", "goes_on"),
        ("async def _look(): ...", "_look"),
        ("lambda told: 1", "told"),
        ("class Told: ...", "Told"),
        ("LOOKS = 1", "LOOKS"),
        ("self._seen = 1", "_seen"),
        ("import json as look", "look"),
        ("try: ...\nexcept OSError as found: ...", "found"),
        ("match 1:\n    case int() as held: ...", "held"),
        ("match ():\n    case [*told]: ...", "told"),
        ("match {}:\n    case {**seen}: ...", "seen"),
    ],
)
def test_a_vague_name_is_noticed_wherever_it_is_bound(tmp_path: Path, source: str, name: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert vague_names([path]) == {str(path): {name}}


def test_a_name_with_such_a_word_in_it_is_allowed(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("not_found = self.found")
    assert vague_names([path]) == {}
