"""What import-linter cannot see: what a process really loads, and that packages stay empty at the top."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest


def _loaded(module: str) -> set[str]:
    """Top-level modules in a fresh interpreter after importing one of ours."""
    code = f"import sys, {module}; print(' '.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("scanweb.scan.resolver", {"fastapi", "sqlalchemy", "psycopg", "numpy", "jinja2", "openpyxl", "procrastinate"}),
        ("keys.keyring", {"redis", "sqlalchemy", "fastapi", "numpy", "typer"}),
        ("keys.server", {"redis", "sqlalchemy", "psycopg", "fastapi", "uvicorn", "openpyxl"}),
        ("zpcode.wire.verdict", {"redis", "sqlalchemy", "fastapi", "numpy", "asyncio"}),
    ],
)
def test_a_process_loads_only_what_its_trust_boundary_allows(module: str, never: set[str]) -> None:
    """The scan path needs no framework, the signer no network stack."""
    assert not _loaded(module) & never


def exports_imported(source: str) -> set[str]:
    """The modules of `zpcode.exports` that a source imports, wherever the import stands; `*` for the package."""
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
    parts = [name.split(".") for name in imported]
    return {part[2] if len(part) > 2 else "*" for part in parts if part[:2] == ["zpcode", "exports"]}


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("from zpcode.exports import base, csv", {"base", "csv"}),
        ("from zpcode.exports.csv import Csv", {"csv"}),
        ("def later():\n    import os, zpcode.exports.rows as rows", {"rows"}),
        ("import zpcode.exports", {"*"}),
        ("from zpcode import exports", {"*"}),
        ("from zpcode import errors", set()),
    ],
)
def test_each_way_to_import_an_export_is_noticed(source: str, modules: set[str]) -> None:
    assert exports_imported(source) == modules


def test_only_the_exports_know_a_format(root: Path) -> None:
    """Everybody else takes it from the registry, so that a new format touches no other folder."""
    modules = {
        module: path.relative_to(root)
        for folder in ("zpcode", "loadtests")
        for path in (root / folder).rglob("*.py")
        if path.parent != root / "zpcode" / "exports"
        for module in exports_imported(path.read_text("utf-8"))
    }
    assert {"base", "formats"} <= set(modules)
    assert set(modules) <= {"base", "formats", "qr"}, modules


def test_no_module_imports_a_private_name(root: Path) -> None:
    """A function that two modules need is public, in the module that both may import. mypy refuses names at second hand."""
    private = [
        f"{path.relative_to(root)}: {name.name}"
        for folder in ("zpcode", "scanweb", "keys")
        for path in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for name in node.names
        if name.name.startswith("_")
    ]
    assert private == []


def impurities(source: str) -> set[str]:
    """What a source does that depends on more than its arguments: reads the clock or a file, or imports by a name."""
    called = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {node.id for node in called if isinstance(node, ast.Name)}
    methods = {node.attr for node in called if isinstance(node, ast.Attribute)}
    return names & {"open", "input", "print", "__import__"} | methods & {"now", "today", "utcnow", "import_module"}


def test_what_is_pure_reads_no_clock_and_no_file(root: Path) -> None:
    """import-linter sees modules, not calls: `datetime.now()` needs no module that a rule may not have."""
    pure = [root / "zpcode" / name for name in ("errors.py", "ratelimit.py", "language/negotiation.py")]
    pure += [path for folder in ("wire", "rules") for path in (root / "zpcode" / folder).rglob("*.py")]
    assert len(pure) > 40
    impure = {str(path.relative_to(root)): impurities(path.read_text("utf-8")) for path in pure}
    assert {path: calls for path, calls in impure.items() if calls} == {}


@pytest.mark.parametrize(
    "source",
    ["datetime.now(UTC)", "date.today()", "open('x').read()", "__import__('os')", "importlib.import_module('os')"],
)
def test_a_call_that_reads_the_world_is_noticed(source: str) -> None:
    assert impurities(source)


def test_every_package_file_is_empty(root: Path) -> None:
    """What a parent `__init__` pulls in is hidden from import-linter: so there is nothing in it."""
    filled = [
        str(path.relative_to(root))
        for folder in ("zpcode", "scanweb", "keys")
        for path in (root / folder).rglob("__init__.py")
        if path.read_text("utf-8").strip()
    ]
    assert filled == []


def test_the_top_level_is_as_the_customer_fixed_it(root: Path) -> None:
    """Six names, and beside them only README, Makefile, docs, deploy and the usual files."""
    tracked = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True).stdout
    top = {line.split("/")[0] for line in tracked.splitlines()}
    fixed = {"zpcode", "scanweb", "keys", "loadtests", "tests", "pyproject.toml"}
    beside = {
        "README.md",
        "Makefile",
        "docs",
        "deploy",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "constraints.txt",
    }
    assert {name for name in top if not name.startswith(".")} <= fixed | beside
    assert fixed <= top
