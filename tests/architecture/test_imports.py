"""What import-linter cannot see: what a process really loads, and that packages stay empty at the top."""

from __future__ import annotations

import ast
import re
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


def test_only_the_exports_know_a_format(root: Path) -> None:
    """Everybody else takes it from the registry, so that a new format touches no other folder."""
    imported = re.compile(r"^(?:from|import) zpcode\.exports(?:\.| import )(\w+)", re.MULTILINE)
    modules = {
        module: path.relative_to(root)
        for folder in ("zpcode", "loadtests")
        for path in (root / folder).rglob("*.py")
        if path.parent != root / "zpcode" / "exports"
        for module in imported.findall(path.read_text("utf-8"))
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
